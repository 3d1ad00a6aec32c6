"""News of builds, from a real Redis."""

import asyncio
import signal
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from app.bootstrap.api import stop
from app.builds import pubsub as module
from app.builds.pubsub import Bell, Changes
from app.builds.store import BuildStore, connect
from tests.seams.stored import append, claim, dispatch, submit
from tests.support.servers.redis_process import RedisProcess


async def listens(bell: Bell) -> None:
    """Until it has subscribed, which rings every bell."""
    assert await bell.wait(10)
    while await bell.wait(0.1):  # once for each channel
        pass


@pytest.fixture(params=[2, 3])
async def changes(redis: RedisProcess, request: pytest.FixtureRequest) -> AsyncIterator[Changes]:
    client = connect(f"{redis.url}?protocol={request.param}")
    found = Changes(client)
    listening = asyncio.create_task(found.run())
    await listens(found.work)
    yield found
    await stop([listening])
    await client.aclose()


async def test_each_kind_of_news_rings_its_bells(changes: Changes, store: BuildStore) -> None:
    with changes.watch("auth0|ann") as anns, changes.watch("auth0|bob") as bobs:
        build_id = await submit(store)
        assert await anns.wait(10)
        assert await changes.work.wait(10)
        with changes.watch(build_id) as builds:
            _, who = await dispatch(store)
            assert await builds.wait(10)
            await claim(store, build_id, who)
            assert await builds.wait(10)
            await append(store, build_id, who, 0, b"a line\n")
            assert await builds.wait(10)
        assert not await bobs.wait(0)


async def test_a_connection_that_broke_is_replaced(
    changes: Changes, store: BuildStore, redis: RedisProcess
) -> None:
    with changes.watch("auth0|ann") as bell:
        async with Redis.from_url(redis.url) as admin:
            await admin.client_kill_filter(_type="pubsub")
        await listens(bell)
        await submit(store)
        assert await bell.wait(10)


async def test_a_redis_that_is_silent_is_asked_whether_it_is_there(
    redis: RedisProcess, store: BuildStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_QUIET", 0.2)
    client = connect(redis.url)
    changes = Changes(client)
    listening = asyncio.create_task(changes.run())
    with changes.watch("auth0|ann") as bell:
        await listens(bell)
        async with Redis.from_url(redis.url) as admin:
            [before] = await subscribers(admin)
            await asyncio.sleep(1)  # it answers: the connection stays
            assert await subscribers(admin) == [before]
            redis.send(signal.SIGSTOP)
            try:
                assert await bell.wait(10), "a connection that nobody answers on is given up"
            finally:
                redis.send(signal.SIGCONT)
            await listens(bell)
            await submit(store)
            assert await bell.wait(10)
            assert before not in await subscribers(admin)
    await stop([listening])
    await client.aclose()


async def subscribers(admin: Redis) -> list[str]:
    return [each["id"] for each in await admin.client_list(_type="pubsub")]
