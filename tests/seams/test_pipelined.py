"""One connection to a real Redis that all tasks share."""

import asyncio
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError, ResponseError

from app.builds.store import BuildStore, connect, pipelined
from app.builds.store.pipelined import PipelinedConnection
from tests.support.servers.redis_process import RedisProcess


@pytest.fixture
async def admin(redis: RedisProcess) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis.url) as client:
        await client.flushall()
        yield client


@pytest.fixture
async def connection(redis: RedisProcess, admin: Redis) -> AsyncIterator[PipelinedConnection]:
    del admin
    client = connect(redis.url)
    pool: Any = client.connection_pool
    found = PipelinedConnection(pool)
    yield found
    await found.close()
    await client.aclose()


async def test_each_of_many_tasks_gets_its_own_answer(
    connection: PipelinedConnection, admin: Redis
) -> None:
    before = await clients(admin)
    answers = await asyncio.gather(*(connection.call("ECHO", str(n)) for n in range(500)))
    assert answers == [str(n).encode() for n in range(500)]
    assert await clients(admin) == before + 1


async def test_what_is_asked_at_once_leaves_in_one_write(
    connection: PipelinedConnection, admin: Redis
) -> None:
    await connection.call("PING")
    before = await admin.info("stats")
    await asyncio.gather(*(connection.call("PING") for _ in range(200)))
    after = await admin.info("stats")
    reads = after["total_reads_processed"] - before["total_reads_processed"]
    assert reads < 10, "Redis reads one write at once, or in a few pieces"


async def test_a_refusal_is_that_of_one_call(connection: PipelinedConnection) -> None:
    await connection.call("SET", "text", "a")
    answers = await asyncio.gather(
        connection.call("GET", "text"),
        connection.call("INCR", "text"),
        connection.call("GET", "text"),
        return_exceptions=True,
    )
    assert answers[0] == answers[2] == b"a"
    assert isinstance(answers[1], ResponseError)


async def test_several_commands_are_one_round_trip(
    connection: PipelinedConnection, admin: Redis
) -> None:
    assert await connection.calls(("SET", "a", 1), ("GET", "a")) == [b"OK", b"1"]
    before = (await admin.info("stats"))["total_reads_processed"]
    await connection.calls(("GET", "a"), ("STRLEN", "a"), ("EXISTS", "a"))
    assert (await admin.info("stats"))["total_reads_processed"] == before + 2  # this question, too
    with pytest.raises(ResponseError):
        await connection.calls(("GET", "a"), ("HGET", "a", "b"), ("LPOP", "a"))


async def test_who_goes_away_leaves_the_others_their_answers(
    connection: PipelinedConnection,
) -> None:
    await connection.call("PING")
    calls = [asyncio.create_task(connection.call("ECHO", str(n))) for n in range(10)]
    await asyncio.sleep(0)
    calls[3].cancel()
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(answers.pop(3), asyncio.CancelledError)
    assert answers == [str(n).encode() for n in range(10) if n != 3]
    assert await connection.call("ECHO", "next") == b"next"


async def test_bytes_arrive_as_they_are(connection: PipelinedConnection) -> None:
    data = bytes(range(256)) * 8192  # more than a socket takes at once
    await connection.call("SET", "data", data)
    assert await connection.call("GET", "data") == data


async def test_all_who_wait_hear_that_the_connection_broke_and_the_next_call_opens_another(
    connection: PipelinedConnection, admin: Redis
) -> None:
    waiting = [asyncio.create_task(connection.call("BLPOP", "nothing", "0")) for _ in range(3)]
    async with asyncio.timeout(10):
        while (await admin.info("clients"))["blocked_clients"] == 0:
            await asyncio.sleep(0.01)
    await admin.client_kill_filter(_type="normal", skipme=True)
    for answer in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(answer, RedisConnectionError)
    assert await connection.call("ECHO", "again") == b"again"


async def test_a_connection_that_ended_while_nobody_asked_is_not_noticed(
    connection: PipelinedConnection, admin: Redis
) -> None:
    await connection.call("PING")
    before = await clients(admin)
    await admin.client_kill_filter(_type="normal", skipme=True)
    async with asyncio.timeout(10):
        while await clients(admin) == before:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    assert await connection.call("ECHO", "again") == b"again"


async def test_a_frozen_redis_costs_each_call_its_time_and_no_more(
    connection: PipelinedConnection, redis: RedisProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipelined, "CALL_TIMEOUT", 0.3)
    await connection.call("PING")
    redis.send(signal.SIGSTOP)
    try:
        async with asyncio.timeout(10):
            for _ in range(2):  # on the connection that there was; on one that cannot be opened
                answers = await asyncio.gather(
                    *(connection.call("PING") for _ in range(5)), return_exceptions=True
                )
                assert {type(answer) for answer in answers} <= {TimeoutError, RedisConnectionError}
                assert TimeoutError in {type(answer) for answer in answers}
    finally:
        redis.send(signal.SIGCONT)
    monkeypatch.setattr(pipelined, "CALL_TIMEOUT", 10)
    assert await connection.call("ECHO", "again") == b"again"


async def test_a_slow_answer_ends_its_call_and_not_the_connection_that_others_are_heard_on(
    connection: PipelinedConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = (
        "local t = redis.call('TIME') local till = t[1] * 1000000 + t[2] + 600000 "
        "repeat t = redis.call('TIME') until t[1] * 1000000 + t[2] >= till return ARGV[1]"
    )
    number = await connection.call("CLIENT", "ID")
    monkeypatch.setattr(pipelined, "CALL_TIMEOUT", 1.5)
    first = asyncio.create_task(connection.call("EVAL", busy, 0, "first"))
    await asyncio.sleep(0.1)  # Redis reads what comes meanwhile at once, and answers it at once
    late = await asyncio.gather(
        *(connection.call("EVAL", busy, 0, n) for n in range(3)), return_exceptions=True
    )
    assert await first == b"first"
    assert {type(answer) for answer in late} == {TimeoutError}
    monkeypatch.setattr(pipelined, "CALL_TIMEOUT", 10)
    assert await connection.call("CLIENT", "ID") == number


async def test_scripts_that_redis_forgot_are_given_to_it_again(
    store: BuildStore, admin: Redis
) -> None:
    for _ in range(2):
        await admin.script_flush()
        takes = (store.dispatching.take(window=1, limit=1, hold=1) for _ in range(5))
        assert await asyncio.gather(*takes) == [None] * 5


async def clients(admin: Redis) -> int:
    found: int = (await admin.info("clients"))["connected_clients"]
    return found
