"""News of builds: one subscription per process, however many wait.

News are hints: after a lost connection some are missing, so whoever waits looks again by himself
after `WakeUp.wait`'s timeout.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError, RedisError

from app.builds.store import keys

log = logging.getLogger(__name__)

#: Seconds between attempts to subscribe again.
_RESUBSCRIBE_INTERVAL: Final = 0.5
#: Seconds without news after which Redis is asked whether it is still there.
_PING_INTERVAL: Final = 30.0

_WORK: Final = keys.WORK.encode()


def record(build_id: str, owner: str) -> str:
    """The topic of one build's record alone: nobody is woken when only the log grows."""
    return f"{build_id} {owner}"


class WakeUp:
    """Says that something changed since it was last waited for."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def set(self) -> None:
        self._event.set()

    async def wait(self, timeout: float) -> bool:
        """True when it rang within `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout):  # Python 3.11's `wait_for` can swallow a cancel
                await self._event.wait()
        except TimeoutError:
            return False
        self._event.clear()
        return True


class PubSub:
    """Wakes those who follow builds, and sets `work` when dispatch may have something."""

    def __init__(self, redis: "Redis") -> None:
        self._redis = redis
        self._wake_ups: defaultdict[str, set[WakeUp]] = defaultdict(set)
        self.work = WakeUp()
        self.stopping = False

    def stop(self) -> None:
        """This process is about to end: whoever waits for news of a build shall go."""
        self.stopping = True
        self._wake_all()

    @contextmanager
    def subscribe(self, topic: str) -> Iterator[WakeUp]:
        """Wake for one build, for all builds of one owner, or for a `record`, until the context
        ends."""
        wake_up = WakeUp()
        self._wake_ups[topic].add(wake_up)
        try:
            yield wake_up
        finally:
            self._wake_ups[topic].discard(wake_up)
            if not self._wake_ups[topic]:
                del self._wake_ups[topic]

    async def run(self) -> None:
        """Listen until cancelled."""
        while True:
            try:
                await self._listen()
            except (RedisError, OSError) as error:
                log.warning("lost the store's news (%s); subscribing again", type(error).__name__)
            self._wake_all()
            await asyncio.sleep(_RESUBSCRIBE_INTERVAL)

    async def _listen(self) -> None:
        """On a connection of its own, and without redis-py's `PubSub`, which costs twice as much
        for each message as all that is done here."""
        pool: Any = self._redis.connection_pool  # documented, but its type says otherwise
        connection = pool.make_connection()
        asked = False  #: whether it is still there
        try:
            await connection.connect()
            await connection.send_command("SUBSCRIBE", keys.CHANGED, keys.GROWN, keys.WORK)
            while True:
                message = await connection.read_response(timeout=_PING_INTERVAL, push_request=True)
                if message is not None:
                    asked = False
                    self._heard(message)
                elif asked:
                    raise RedisConnectionError("no answer to PING")
                else:
                    asked = True
                    await connection.send_command("PING")
        finally:
            await connection.disconnect(nowait=True)

    def _heard(self, message: Sequence[bytes]) -> None:
        match message:
            case [b"message", channel, data]:
                if channel == _WORK:
                    self.work.set()
                else:
                    self._wake(data.decode())
            case [b"subscribe", *_]:
                self._wake_all()  # from here on, nothing is missed
            case _:
                pass  # an answer to PING

    def _wake(self, data: str) -> None:
        """`data`: the id of a build, and its owner where the record changed."""
        for topic in {data, *data.split(" ", 1)}:
            for wake_up in self._wake_ups.get(topic, ()):
                wake_up.set()

    def _wake_all(self) -> None:
        self.work.set()
        for wake_ups in self._wake_ups.values():
            for wake_up in wake_ups:
                wake_up.set()
