"""Turns, attempts and what is overdue: the scripts of dispatcher and reaper on a real Redis."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from app.builds import errors
from app.builds.store import BuildStore, connect, keys
from app.builds.store.results import Expired
from app.contract.status import Status
from tests.seams.stored import (
    append,
    claim,
    dispatch,
    expire,
    status_of,
    submit,
    take,
)
from tests.support.servers.redis_process import RedisProcess


async def test_users_take_turns_whatever_the_length_of_their_queues(store: BuildStore) -> None:
    for owner in ["a"] * 4 + ["b"] * 2 + ["c"]:
        await submit(store, owner)
    order = []
    while taken := await take(store):
        order.append(taken.owner)
    assert order == ["a", "b", "c", "a", "b", "a", "a"]


async def test_a_user_at_the_limit_is_passed_over_and_comes_back(store: BuildStore) -> None:
    for owner in ["a", "a", "b"]:
        await submit(store, owner)
    first = await take(store, limit=1)
    second = await take(store, limit=1)
    assert first and second and [first.owner, second.owner] == ["a", "b"]
    assert await take(store, limit=1) is None
    await store.records.cancel(first.build_id, "a", who="a")
    third = await take(store, limit=1)
    assert third and third.owner == "a"


async def test_a_crowd_at_the_limit_holds_up_nobody(store: BuildStore, redis: RedisProcess) -> None:
    """However many are passed over, no script looks at more than some of them."""
    crowd = [f"user{number}" for number in range(250)]
    for owner in crowd:
        await submit(store, owner)
    for _ in crowd:
        assert await take(store, window=1000, limit=1)
    for owner in [*crowd, "last"]:
        await submit(store, owner)
    async with Redis.from_url(redis.url) as admin:
        await admin.config_resetstat()
        taken = await take(store, window=1000, limit=1)
        calls: dict[str, Any] = await admin.info("commandstats")
    assert taken and taken.owner == "last"
    assert calls["cmdstat_evalsha"]["calls"] == 3
    assert calls["cmdstat_scard"]["calls"] == 251


async def test_who_is_at_the_limit_is_not_looked_at_again(
    store: BuildStore, redis: RedisProcess
) -> None:
    for owner in ["a", "b"] * 3:
        await submit(store, owner)
    for _ in range(4):
        assert await take(store, limit=2)
    async with Redis.from_url(redis.url) as admin:
        await admin.config_resetstat()
        assert await take(store, limit=2) is None
        calls: dict[str, Any] = await admin.info("commandstats")
    assert "cmdstat_scard" not in calls


async def test_a_record_that_is_gone_costs_its_owner_no_turn(
    store: BuildStore, redis: RedisProcess
) -> None:
    gone, following = [await submit(store) for _ in range(2)]
    async with Redis.from_url(redis.url) as admin:
        await admin.delete(keys.build(gone))
    taken = await take(store, limit=1)
    assert taken and taken.build_id == following


async def test_a_take_says_whether_others_wait_for_their_turn(store: BuildStore) -> None:
    for owner in ["a", "a", "b"]:
        await submit(store, owner)
    taken = [await take(store, limit=1) for _ in range(2)]
    assert [each.more for each in taken if each] == [True, False]


async def test_the_window_bounds_what_waits_for_a_worker(store: BuildStore) -> None:
    for _ in range(3):
        await submit(store)
    build_id, who = await dispatch(store)
    await dispatch(store)
    assert await take(store, window=2) is None
    await claim(store, build_id, who)
    assert await take(store, window=2)


async def test_two_dispatchers_never_take_the_same_build(store: BuildStore) -> None:
    ids = {await submit(store, f"user{n % 7}") for n in range(50)}
    taken = await asyncio.gather(*(take(store) for _ in range(80)))
    found = [one.build_id for one in taken if one]
    assert sorted(found) == sorted(ids)


async def test_an_expiry_is_taken_by_exactly_one_reaper(store: BuildStore) -> None:
    for _ in range(20):
        await submit(store)
        await dispatch(store, queue_ttl=0.001)
    await asyncio.sleep(0.01)
    taken = await asyncio.gather(*(expire(store) for _ in range(10)))
    assert sum(len(words) for words in taken) == 20


async def test_a_lost_worker_leads_to_an_attempt_that_its_token_cannot_touch(
    store: BuildStore,
) -> None:
    await submit(store)
    build_id, first = await dispatch(store)
    await claim(store, build_id, first, lease=0.001)
    await asyncio.sleep(0.01)
    assert await expire(store) == ["worker_lost"]
    with pytest.raises(errors.LeaseLost):
        await append(store, build_id, first, 0, b"late")
    _, second = await dispatch(store)
    with pytest.raises(errors.Superseded):
        await claim(store, build_id, first)
    claimed = await claim(store, build_id, second, nonce="second")
    assert claimed.attempt == 2
    with pytest.raises(errors.LeaseLost):
        await store.leases.renew(build_id, first, lease_id="lease of nonce", lease=60)
    with pytest.raises(errors.Superseded):
        await store.leases.renew(build_id, first, lease_id="lease of second", lease=60)
    view = (await store.records.get(build_id)).view
    assert [(a.attempt, a.reason, a.worker) for a in view.attempts] == [
        (1, "worker_lost", "host:1")
    ]


async def test_attempts_are_limited(store: BuildStore) -> None:
    await submit(store)
    for _ in range(2):
        build_id, who = await dispatch(store)
        await claim(store, build_id, who, lease=0.001)
        await asyncio.sleep(0.01)
        await expire(store, max_attempts=2)
    view = (await store.records.get(build_id)).view
    assert (view.status, view.reason) == (Status.ERRORED, "worker_lost")
    assert [ended.attempt for ended in view.attempts] == [1]  # the last one ended the build


async def test_the_reaper_holds_off_while_it_must(store: BuildStore) -> None:
    await submit(store)
    build_id, who = await dispatch(store)
    await claim(store, build_id, who, lease=0.001)
    await asyncio.sleep(0.01)
    assert await expire(store, hold=True) == []
    assert await status_of(store, build_id) == Status.RUNNING


async def test_the_reaper_takes_nobody_for_lost_when_it_comes_late(store: BuildStore) -> None:
    """By the store's clock: the call may have been sent in time, and be done late."""
    await submit(store)
    build_id, who = await dispatch(store)
    await claim(store, build_id, who, lease=0.001)
    await asyncio.sleep(0.01)

    async def look(not_after: float | None) -> Expired:
        return await store.dispatching.expire(
            hold=False, max_attempts=3, max_wait=600, retention=600, not_after=not_after
        )

    now = time.time()
    late = await look(now - 1)
    assert (late.held, late.done) == (True, [])
    assert abs(late.at - now) < 60
    in_time = await look(late.at + 60)
    assert (in_time.held, in_time.done) == (False, [("worker_lost", build_id)])


async def test_a_build_that_cannot_be_dispatched_says_why_and_waits(store: BuildStore) -> None:
    build_id = await submit(store)
    taken = await take(store)
    assert taken
    await store.dispatching.put_back(taken, delay=0.001, reason="no_token", message="why")
    view = (await store.records.get(build_id)).view
    assert (view.status, view.reason, view.message) == (Status.QUEUED, "no_token", "why")
    await asyncio.sleep(0.01)
    await expire(store, hold=True)
    again = await take(store)
    assert again and again.build_id == build_id
    assert await store.dispatching.sent(again, token_id="t", facts_json="", queue_ttl=60)
    assert (await store.records.get(build_id)).view.reason is None


async def test_a_message_is_not_recorded_for_a_build_cancelled_meanwhile(store: BuildStore) -> None:
    build_id = await submit(store)
    taken = await take(store)
    assert taken
    await store.records.cancel(build_id, "auth0|ann", who="auth0|ann")
    assert not await store.dispatching.sent(taken, token_id="t", facts_json="", queue_ttl=60)


async def test_an_unanswering_store_is_said_to_be_so(tmp_path: Path) -> None:
    store = BuildStore(connect(f"unix://{tmp_path}/nothing"))
    with pytest.raises(errors.StoreUnavailable):
        await submit(store)
    await store.close()
