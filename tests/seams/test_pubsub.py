"""News of builds, from a real Redis."""

import asyncio
import signal
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from app.bootstrap.running import stop
from app.builds import pubsub as module
from app.builds.pubsub import PubSub, WakeUp
from app.builds.store import BuildStore, connect
from tests.seams.stored import append, claim, dispatch, submit
from tests.support.servers.redis_process import RedisProcess


async def listens(wake_up: WakeUp) -> None:
    """Until it has subscribed, which wakes everybody."""
    assert await wake_up.wait(10)
    while await wake_up.wait(0.1):  # once for each channel
        pass


@pytest.fixture(params=[2, 3])
async def pubsub(redis: RedisProcess, request: pytest.FixtureRequest) -> AsyncIterator[PubSub]:
    client = connect(f"{redis.url}?protocol={request.param}")
    found = PubSub(client)
    listening = asyncio.create_task(found.run())
    await listens(found.work)
    yield found
    await stop([listening])
    await client.aclose()


async def test_each_kind_of_news_wakes_those_who_wait_for_it(
    pubsub: PubSub, store: BuildStore
) -> None:
    with pubsub.subscribe("auth0|ann") as anns, pubsub.subscribe("auth0|bob") as bobs:
        build_id = await submit(store)
        assert await anns.wait(10)
        assert await pubsub.work.wait(10)
        with pubsub.subscribe(build_id) as builds:
            _, who = await dispatch(store)
            assert await builds.wait(10)
            await claim(store, build_id, who)
            assert await builds.wait(10)
            await append(store, build_id, who, 0, b"a line\n")
            assert await builds.wait(10)
        assert not await bobs.wait(0)


async def test_a_connection_that_broke_is_replaced(
    pubsub: PubSub, store: BuildStore, redis: RedisProcess
) -> None:
    with pubsub.subscribe("auth0|ann") as wake_up:
        async with Redis.from_url(redis.url) as admin:
            await admin.client_kill_filter(_type="pubsub")
        await listens(wake_up)
        await submit(store)
        assert await wake_up.wait(10)


async def test_a_redis_that_is_silent_is_asked_whether_it_is_there(
    redis: RedisProcess, store: BuildStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PING_INTERVAL", 0.2)
    client = connect(redis.url)
    pubsub = PubSub(client)
    listening = asyncio.create_task(pubsub.run())
    with pubsub.subscribe("auth0|ann") as wake_up:
        await listens(wake_up)
        async with Redis.from_url(redis.url) as admin:
            [before] = await subscribers(admin)
            await asyncio.sleep(1)  # it answers: the connection stays
            assert await subscribers(admin) == [before]
            redis.send(signal.SIGSTOP)
            try:
                assert await wake_up.wait(10), "a connection that nobody answers on is given up"
            finally:
                redis.send(signal.SIGCONT)
            await listens(wake_up)
            await submit(store)
            assert await wake_up.wait(10)
            assert before not in await subscribers(admin)
    await stop([listening])
    await client.aclose()


async def subscribers(admin: Redis) -> list[str]:
    return [each["id"] for each in await admin.client_list(_type="pubsub")]
