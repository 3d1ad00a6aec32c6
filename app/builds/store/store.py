"""`BuildStore` is everything that Baton keeps in Redis, by subject.

Every method of a subject raises `StoreUnavailable` when Redis does not answer in time. The call may
have taken effect all the same; every call may be repeated.
"""

from redis.asyncio import Redis

from app.builds.store import keys
from app.builds.store.connection import translate_errors
from app.builds.store.count_reader import CountReader
from app.builds.store.dispatching import Dispatching
from app.builds.store.leases import Leases
from app.builds.store.logs import Logs
from app.builds.store.prefetched_tokens import PrefetchedTokenStore
from app.builds.store.queue_reader import QueueReader
from app.builds.store.records import Records
from app.builds.store.scripts import Scripts, ms
from app.builds.store.stream_source import StreamSource


class BuildStore:
    """`BuildStore` holds the parts of the store, which share one client and one pipelined
    connection."""

    def __init__(self, redis: "Redis") -> None:
        """Take over the client: `close` closes it."""
        self._redis = redis
        self._scripts = Scripts(redis)
        self.records = Records(redis, self._scripts)
        self.dispatching = Dispatching(self._scripts)
        self.leases = Leases(self._scripts)
        self.logs = Logs(redis)
        self.prefetched_tokens = PrefetchedTokenStore(redis)
        self.queue = QueueReader(redis)
        self.streams = StreamSource(redis)
        self.counts = CountReader(redis)

    async def ping(self) -> None:
        """Raise `StoreUnavailable` when Redis does not answer."""
        async with translate_errors():
            await self._redis.ping()

    async def first_use(self, name: str, seconds: float) -> bool:
        """Return whether `name` was not used in the last `seconds`, by any replica; mark it as
        used."""
        async with translate_errors():
            return bool(await self._redis.set(keys.used(name), b"", nx=True, px=ms(seconds)))

    async def close(self) -> None:
        await self._scripts.close()
        await self._redis.aclose()
