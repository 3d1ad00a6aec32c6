"""Publications of the store wake the tasks that wait for a change: one subscription per process.

A publication is a hint: those sent while the connection is down are lost. So every waiter also
polls by itself after `WakeUp.wait`'s timeout.
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
#: Seconds without a publication after which the connection is checked with PING.
_PING_INTERVAL: Final = 30.0

_WORK: Final = keys.WORK.encode()


def record(build_id: str, owner: str) -> str:
    """Return the topic of one build's record alone, which the growth of its log does not wake."""
    return f"{build_id} {owner}"


class WakeUp:
    """A `WakeUp` remembers that something changed since its owner last waited. One task waits on
    it."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def set(self) -> None:
        self._event.set()

    async def wait(self, timeout: float) -> bool:
        """Return True when `set` is or was called within `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout):  # Python 3.11's `wait_for` can swallow a cancel
                await self._event.wait()
        except TimeoutError:
            return False
        self._event.clear()
        return True


class PubSub:
    """`PubSub` wakes the subscribers of builds, and sets `work` when there may be builds to
    dispatch.

    One task calls `run`; all methods belong to its event loop.
    """

    def __init__(self, redis: "Redis") -> None:
        self._redis = redis
        self._wake_ups: defaultdict[str, set[WakeUp]] = defaultdict(set)
        self.work = WakeUp()
        self.stopping = False

    def stop(self) -> None:
        """Wake all subscribers, and let them see `stopping`: this process is about to end."""
        self.stopping = True
        self._wake_all()

    @contextmanager
    def subscribe(self, topic: str) -> Iterator[WakeUp]:
        """Subscribe, until the context ends, to one build, to all builds of an owner, or to a
        `record`."""
        wake_up = WakeUp()
        self._wake_ups[topic].add(wake_up)
        try:
            yield wake_up
        finally:
            self._wake_ups[topic].discard(wake_up)
            if not self._wake_ups[topic]:
                del self._wake_ups[topic]

    async def run(self) -> None:
        """Listen until cancelled; a lost connection is opened again, and then wakes every
        subscriber."""
        while True:
            try:
                await self._listen()
            except (RedisError, OSError) as error:
                log.warning("lost the store's news (%s); subscribing again", type(error).__name__)
            self._wake_all()
            await asyncio.sleep(_RESUBSCRIBE_INTERVAL)

    async def _listen(self) -> None:
        """Read publications from a connection of its own.

        redis-py's `PubSub` would cost twice as much for each message as all that is done here.
        """
        pool: Any = self._redis.connection_pool  # documented, but its type says otherwise
        connection = pool.make_connection()
        ping_sent = False
        try:
            await connection.connect()
            await connection.send_command("SUBSCRIBE", keys.CHANGED, keys.GROWN, keys.WORK)
            while True:
                message = await connection.read_response(timeout=_PING_INTERVAL, push_request=True)
                if message is not None:
                    ping_sent = False
                    self._handle(message)
                elif ping_sent:
                    raise RedisConnectionError("no answer to PING")
                else:
                    ping_sent = True
                    await connection.send_command("PING")
        finally:
            await connection.disconnect(nowait=True)

    def _handle(self, message: Sequence[bytes]) -> None:
        match message:
            case [b"message", channel, data]:
                if channel == _WORK:
                    self.work.set()
                else:
                    self._wake(data.decode())
            case [b"subscribe", *_]:
                self._wake_all()  # what was published before this moment is lost
            case _:
                pass  # the response to PING

    def _wake(self, data: str) -> None:
        """Wake the topics of a publication: a build's id, followed by its owner if the record
        changed."""
        for topic in {data, *data.split(" ", 1)}:
            for wake_up in self._wake_ups.get(topic, ()):
                wake_up.set()

    def _wake_all(self) -> None:
        self.work.set()
        for wake_ups in self._wake_ups.values():
            for wake_up in wake_ups:
                wake_up.set()
