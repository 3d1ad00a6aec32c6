"""`listening` stands in for an API process: a client of the store, and its one subscription."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.asyncio import Redis

from app.builds.pubsub import PubSub
from app.builds.store import connect
from tests.support.servers.redis_process import RedisProcess


@asynccontextmanager
async def listening(redis: RedisProcess) -> AsyncIterator[tuple["Redis", PubSub]]:
    """Hear the store's news until the context ends."""
    news, client = Redis.from_url(redis.url), connect(redis.url)
    pubsub = PubSub(news)
    task = asyncio.create_task(pubsub.run())
    try:
        yield client, pubsub
    finally:
        pubsub.stop()
        while not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=1)
        await news.aclose()
        await client.aclose()
