"""`BuildStore`: all that is in Redis, by subject.

Every method of a subject raises `StoreUnavailable` when Redis does not answer in time. A call that
failed so may have taken effect all the same; all of them may be repeated.
"""

from redis.asyncio import Redis

from app.builds.store import keys
from app.builds.store.connection import answering
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
    def __init__(self, redis: "Redis") -> None:
        """The client is the store's from now on: `close` closes it."""
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
        async with answering():
            await self._redis.ping()

    async def first_use(self, name: str, seconds: float) -> bool:
        """Whether nobody has named this in the last `seconds`."""
        async with answering():
            return bool(await self._redis.set(keys.used(name), b"", nx=True, px=ms(seconds)))

    async def close(self) -> None:
        await self._scripts.close()
        await self._redis.aclose()
