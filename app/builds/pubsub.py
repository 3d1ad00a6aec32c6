"""News of builds: one subscription per process, however many wait.

News are hints: after a lost connection some are missing, so whoever waits looks again by himself
after `Bell.wait`'s timeout.
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
_RETRY: Final = 0.5
#: Seconds without news after which Redis is asked whether it is still there.
_QUIET: Final = 30.0

_WORK: Final = keys.WORK.encode()


def record(build_id: str, owner: str) -> str:
    """The topic of one build's record alone: its bell does not ring when only the log grows."""
    return f"{build_id} {owner}"


class Bell:
    """Rings when something changed since it was last waited for."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def ring(self) -> None:
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


class Changes:
    """Rings the bells of those who watch builds, and `work` when dispatch may have something."""

    def __init__(self, redis: "Redis") -> None:
        self._redis = redis
        self._bells: defaultdict[str, set[Bell]] = defaultdict(set)
        self.work = Bell()
        self.stopping = False

    def stop(self) -> None:
        """This process is about to end: whoever waits for news of a build shall go."""
        self.stopping = True
        self._ring_all()

    @contextmanager
    def watch(self, topic: str) -> Iterator[Bell]:
        """A bell for one build, for all builds of one owner, or for a `record`, until the context
        ends."""
        bell = Bell()
        self._bells[topic].add(bell)
        try:
            yield bell
        finally:
            self._bells[topic].discard(bell)
            if not self._bells[topic]:
                del self._bells[topic]

    async def run(self) -> None:
        """Listen until cancelled."""
        while True:
            try:
                await self._listen()
            except (RedisError, OSError) as error:
                log.warning("lost the store's news (%s); subscribing again", type(error).__name__)
            self._ring_all()
            await asyncio.sleep(_RETRY)

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
                message = await connection.read_response(timeout=_QUIET, push_request=True)
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
                    self.work.ring()
                else:
                    self._ring(data.decode())
            case [b"subscribe", *_]:
                self._ring_all()  # from here on, nothing is missed
            case _:
                pass  # an answer to PING

    def _ring(self, data: str) -> None:
        """`data`: the id of a build, and its owner where the record changed."""
        for topic in {data, *data.split(" ", 1)}:
            for bell in self._bells.get(topic, ()):
                bell.ring()

    def _ring_all(self) -> None:
        self.work.ring()
        for bells in self._bells.values():
            for bell in bells:
                bell.ring()
