"""A real Redis for each file of tests, and an empty store on it for each test."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from app.builds.store import BuildStore, connect
from tests.support.servers.redis_process import RedisProcess


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    data: Path = tmp_path_factory.mktemp("redis")
    with RedisProcess(data) as process:
        yield process


@pytest.fixture
async def store(redis: RedisProcess) -> AsyncIterator[BuildStore]:
    client = connect(redis.url)
    await client.flushall()
    store = BuildStore(client)
    yield store
    await store.close()
