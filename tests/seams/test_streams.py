"""Following builds over a real Redis: what followers hear, each thing once, whatever happens."""

import asyncio
import signal
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest

from app.builds.pubsub import PubSub
from app.builds.store import BuildStore, connect
from app.builds.store.stream_source import StreamSource
from app.builds.streams import BuildStreams, Change, LogPiece, Position, StreamSignal
from app.builds.streams.build import CHUNK_BYTES
from app.contract.status import Status
from tests.seams.listening import listening
from tests.seams.stored import append, claim, dispatch, expire, result, submit
from tests.support.servers.redis_process import RedisProcess

#: Seconds; what is awaited comes much sooner.
PATIENCE = 30.0
OWNER = "auth0|ann"


@asynccontextmanager
async def running(
    redis: RedisProcess, store: BuildStore
) -> AsyncIterator[tuple[BuildStreams, PubSub]]:
    """BuildStreams as in an API process: one subscription."""
    async with listening(redis) as (_, changes):
        yield BuildStreams(store, changes), changes


@pytest.fixture
async def streams(redis: RedisProcess, store: BuildStore) -> AsyncIterator[BuildStreams]:
    async with running(redis, store) as (streams, _):
        yield streams


def build(
    streams: BuildStreams, build_id: str, at: Position = Position(), *,  # noqa: B008  frozen
    until: float | None = None, patience: float = PATIENCE, with_log: bool = True,
) -> AsyncGenerator[Change | LogPiece | StreamSignal, None]:  # fmt: skip
    end = time.time() + 600 if until is None else until
    return streams.build(build_id, at, until=end, quiet_interval=patience, with_log=with_log)


def owner(
    streams: BuildStreams, version: int, who: str = OWNER, *, patience: float = PATIENCE
) -> AsyncGenerator[Change | StreamSignal, None]:
    return streams.owner(who, version, until=time.time() + 600, quiet_interval=patience)


async def heard(following: AsyncGenerator[Any, None]) -> Any:
    """The next thing that a follower hears, signs of quiet aside."""
    async with asyncio.timeout(PATIENCE):
        while (news := await anext(following)) is StreamSignal.QUIET:
            pass
    return news


async def to_the_end(following: AsyncGenerator[Any, None]) -> list[Any]:
    async with asyncio.timeout(PATIENCE), aclosing(following):
        return [news async for news in following if news is not StreamSignal.QUIET]


def log_of(news: list[Any]) -> bytes:
    return b"".join(each.data for each in news if isinstance(each, LogPiece))


def statuses(news: list[Any]) -> list[Status]:
    return [each.build.status for each in news if isinstance(each, Change)]


async def test_a_follower_hears_each_change_and_each_byte_once(
    store: BuildStore, streams: BuildStreams
) -> None:
    build_id = await submit(store)
    following = build(streams, build_id)
    assert (await heard(following)).build.status is Status.QUEUED
    _, who = await dispatch(store)
    assert (await heard(following)).build.attempt == 1
    await claim(store, build_id, who)
    assert (await heard(following)).build.status is Status.RUNNING
    await append(store, build_id, who, 0, b"one ")
    assert (await heard(following)).data == b"one "
    await append(store, build_id, who, 2, b"e two")  # two bytes of it are there already
    assert (await heard(following)).data == b"two"
    await store.leases.finish(
        build_id, who, lease_id="lease of nonce", result=result(log=b"one two")
    )
    ended = await heard(following)
    assert (ended.build.status, ended.build.log.length) == (Status.SUCCEEDED, 7)
    assert await heard(following) is StreamSignal.COMPLETE
    assert await anext(following, None) is None


async def finished(store: BuildStore, log: bytes) -> str:
    build_id = await submit(store)
    _, who = await dispatch(store)
    await claim(store, build_id, who)
    await append(store, build_id, who, 0, log, limit=len(log))
    await store.leases.finish(build_id, who, lease_id="lease of nonce", result=result(log=log))
    return build_id


async def test_the_last_change_of_a_build_comes_after_the_last_byte(
    store: BuildStore, streams: BuildStreams
) -> None:
    log = bytes(range(256)) * 3000
    news = await to_the_end(build(streams, await finished(store, log)))
    assert log_of(news) == log
    assert max(len(each.data) for each in news if isinstance(each, LogPiece)) <= CHUNK_BYTES
    assert [type(each) for each in news[-2:]] == [Change, StreamSignal]
    assert news[-1] is StreamSignal.COMPLETE


async def test_a_follower_goes_on_where_it_was_and_hears_nothing_again(
    store: BuildStore, streams: BuildStreams
) -> None:
    log = b"0123456789" * 1000
    build_id = await finished(store, log)
    whole = await to_the_end(build(streams, build_id))
    [change] = [each for each in whole if isinstance(each, Change)]
    at = Position(version=change.version, offset=4321)
    again = await to_the_end(build(streams, build_id, at))
    assert log_of(again) == log[4321:]
    assert statuses(again) == []
    at = Position(version=change.version - 1, offset=len(log))
    assert statuses(await to_the_end(build(streams, build_id, at))) == [Status.SUCCEEDED]


async def test_a_follower_without_the_log_hears_changes_alone(
    store: BuildStore, streams: BuildStreams
) -> None:
    news = await to_the_end(build(streams, await finished(store, b"text"), with_log=False))
    assert [type(each) for each in news] == [Change, StreamSignal]


async def test_one_who_stands_still_holds_up_nobody_and_misses_nothing(
    store: BuildStore, streams: BuildStreams
) -> None:
    build_id = await submit(store)
    _, who = await dispatch(store)
    await claim(store, build_id, who)
    slow, fast = build(streams, build_id), build(streams, build_id)
    assert isinstance(await heard(slow), Change)
    assert isinstance(await heard(fast), Change)
    log = b""
    for number in range(40):  # more than a feed keeps
        piece = b"%06d " % number * 6000
        await append(store, build_id, who, len(log), piece, limit=10**7)
        log += piece
        got = b""
        while len(got) < len(piece):
            got += (await heard(fast)).data
        assert got == piece
    await store.leases.finish(build_id, who, lease_id="lease of nonce", result=result(log=log))
    assert log_of(await to_the_end(slow)) == log
    assert statuses(await to_the_end(fast)) == [Status.SUCCEEDED]


async def test_a_glance_takes_as_much_of_a_log_as_was_asked_for(
    store: BuildStore, redis: RedisProcess
) -> None:
    build_id = await finished(store, b"0123456789")
    async with connect(redis.url) as client:
        reader = StreamSource(client)
        for start, size, data in ((0, 0, b""), (0, 1, b"0"), (3, 4, b"3456"), (8, 9, b"89")):
            seen = await reader.snapshot(build_id, start, size)
            assert (seen.length, seen.data) == (10, data)
        assert (await reader.snapshot(build_id, 10, 5)).data == b""


async def test_a_burst_that_is_larger_than_what_is_kept_arrives_whole(
    store: BuildStore, streams: BuildStreams
) -> None:
    build_id = await submit(store)
    _, who = await dispatch(store)
    await claim(store, build_id, who)
    following = build(streams, build_id)
    assert isinstance(await heard(following), Change)
    log = b"x" * 300_000 + b"y" * 2_000_000
    await append(store, build_id, who, 0, log, limit=len(log))
    await store.leases.finish(build_id, who, lease_id="lease of nonce", result=result(log=log))
    assert log_of(await to_the_end(following)) == log


async def test_many_followers_cost_one_look_and_one_subscription(
    store: BuildStore, streams: BuildStreams, redis: RedisProcess
) -> None:
    build_id = await submit(store)
    _, who = await dispatch(store)
    await claim(store, build_id, who)
    followers = [build(streams, build_id) for _ in range(200)]
    for each in followers:
        await heard(each)
    watching = connect(redis.url)

    async def looks() -> int:
        stats: Any = await watching.info("commandstats")
        return int(stats["cmdstat_getrange"]["calls"])

    before = await looks()
    pieces = [asyncio.create_task(heard(each)) for each in followers]
    await asyncio.sleep(0)
    await append(store, build_id, who, 0, b"once")
    assert {(await each).data for each in pieces} == {b"once"}
    assert await looks() - before < 10
    clients: Any = await watching.client_list()
    assert sum(int(client["sub"]) > 0 for client in clients) == 1
    await watching.aclose()
    for follower in followers:
        await follower.aclose()


async def test_followers_hear_of_what_changed_while_the_store_was_away(
    store: BuildStore, streams: BuildStreams, redis: RedisProcess
) -> None:
    build_id = await submit(store)
    _, who = await dispatch(store)
    await claim(store, build_id, who)
    following, all_of_them = build(streams, build_id), owner(streams, await streams.latest(OWNER))
    assert isinstance(await heard(following), Change)
    next_change = asyncio.create_task(heard(all_of_them))
    redis.stop(signal.SIGTERM)
    rest = asyncio.create_task(to_the_end(following))
    await asyncio.sleep(0.1)
    redis.start()
    async with connect(redis.url) as client:  # the connections of before are dead
        after = BuildStore(client)
        await append(after, build_id, who, 0, b"back")
        await after.leases.finish(
            build_id, who, lease_id="lease of nonce", result=result(log=b"back")
        )
    news = await rest
    assert log_of(news) == b"back" and statuses(news) == [Status.SUCCEEDED]
    assert (await next_change).build.status is Status.SUCCEEDED


async def test_the_end_of_ones_time_is_the_last_word(
    store: BuildStore, streams: BuildStreams
) -> None:
    build_id = await submit(store)
    news = await to_the_end(build(streams, build_id, until=time.time() + 0.2))
    assert [type(each) for each in news] == [Change, StreamSignal] and news[
        -1
    ] is StreamSignal.EXPIRED
    following = streams.owner(OWNER, 0, until=time.time() + 0.2, quiet_interval=PATIENCE)
    news = await to_the_end(following)
    assert [type(each) for each in news] == [Change, StreamSignal] and news[
        -1
    ] is StreamSignal.EXPIRED


async def test_quiet_is_told_again_and_again(store: BuildStore, streams: BuildStreams) -> None:
    build_id = await submit(store)
    following = build(streams, build_id, patience=0.02)
    assert isinstance(await heard(following), Change)
    assert [await anext(following) for _ in range(3)] == [StreamSignal.QUIET] * 3
    following_all = owner(streams, await streams.latest(OWNER), patience=0.02)
    assert [await anext(following_all) for _ in range(3)] == [StreamSignal.QUIET] * 3
    await following.aclose()
    await following_all.aclose()


async def test_a_build_that_is_deleted_has_no_more_followers(
    store: BuildStore, streams: BuildStreams
) -> None:
    build_id = await submit(store)
    following = build(streams, build_id)
    assert isinstance(await heard(following), Change)
    waiting = asyncio.create_task(to_the_end(following))
    await store.records.cancel(build_id, OWNER, who=OWNER)
    assert (await waiting)[-1] is StreamSignal.COMPLETE
    await expire(store, retention=-1)
    assert await to_the_end(build(streams, build_id)) == [StreamSignal.DELETED]


async def test_followers_go_when_their_process_is_told_to_end(
    store: BuildStore, redis: RedisProcess
) -> None:
    build_id = await submit(store)
    async with running(redis, store) as (streams, changes):
        one, all_of_them = build(streams, build_id), owner(streams, 0)
        assert isinstance(await heard(one), Change)
        assert isinstance(await heard(all_of_them), Change)
        ends = [asyncio.create_task(to_the_end(each)) for each in (one, all_of_them)]
        await asyncio.sleep(0)
        changes.stop()
        assert [await end for end in ends] == [[], []]


# ── all builds of one owner ───────────────────────────────────────────────────────────────────


async def test_whoever_follows_all_builds_hears_of_each_change_and_of_nobody_elses(
    store: BuildStore, streams: BuildStreams
) -> None:
    following = owner(streams, 0)
    first = await submit(store)
    assert (await heard(following)).build.id == first
    await submit(store, "auth0|bob")
    second = await submit(store)
    change = await heard(following)
    assert (change.build.id, change.build.status) == (second, Status.QUEUED)
    await store.records.cancel(first, OWNER, who=OWNER)
    seen = await heard(following)
    while seen.build.status is Status.QUEUED:  # that it was asked for, then that it is done
        seen = await heard(following)
    assert (seen.build.id, seen.build.status) == (first, Status.CANCELLED)
    assert seen.version > change.version
    await following.aclose()


@pytest.mark.parametrize("kept", [True, False], ids=["from memory", "from the store"])
async def test_what_was_missed_comes_once_with_its_last_state(
    store: BuildStore, streams: BuildStreams, kept: bool
) -> None:
    """Three builds change, some twice; whoever was away hears of each, in the order of changes."""
    before = await streams.latest(OWNER)
    others = [owner(streams, before)] if kept else []
    ids = [await submit(store) for _ in range(3)]
    if kept:
        for build_id in ids:
            assert (await heard(others[0])).build.id == build_id
    await store.records.cancel(ids[0], OWNER, who=OWNER)
    following = owner(streams, before)
    last: dict[str, Status] = {}
    versions = []
    while list(last.values()).count(Status.CANCELLED) < 1 or len(last) < 3:
        change = await heard(following)
        last[change.build.id] = change.build.status
        versions.append(change.version)
    assert last == {
        ids[0]: Status.CANCELLED, ids[1]: Status.QUEUED, ids[2]: Status.QUEUED
    }  # fmt: skip
    assert versions == sorted(set(versions))
    if not kept:
        assert len(versions) == 3
    for each in [following, *others]:
        await each.aclose()


async def test_hundreds_of_missed_changes_all_come(
    store: BuildStore, streams: BuildStreams
) -> None:
    ids = [await submit(store) for _ in range(150)]
    following = owner(streams, 0)
    assert [(await heard(following)).build.id for _ in ids] == ids
    more = [await submit(store) for _ in range(150)]
    assert [(await heard(following)).build.id for _ in more] == more
    await following.aclose()


async def test_versions_of_an_owner_only_grow_and_go_with_the_builds(
    store: BuildStore, streams: BuildStreams
) -> None:
    ids = [await submit(store) for _ in range(5)]
    versions = [(await store.records.get(build_id)).version for build_id in ids]
    assert versions == sorted(set(versions)) and versions[-1] == await streams.latest(OWNER)
    for build_id in ids:
        await store.records.cancel(build_id, OWNER, who=OWNER)
    await expire(store, retention=-1)
    assert await streams.latest(OWNER) == 0


async def test_a_clock_that_goes_back_does_not_take_versions_with_it(
    store: BuildStore, streams: BuildStreams, redis: RedisProcess
) -> None:
    build_id = await submit(store)
    ahead = 2**52  # a change by a clock that was years ahead
    async with connect(redis.url) as client:
        await client.zadd(f"{{baton}}:changes:{OWNER}", {build_id: ahead})
    await submit(store)
    assert await streams.latest(OWNER) == ahead + 1
