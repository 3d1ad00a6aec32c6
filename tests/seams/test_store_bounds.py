"""What the store does not let grow, and what it does when something else went wrong before."""

import asyncio
import json
from typing import Any

import pytest
from redis.asyncio import Redis

from app.builds import errors
from app.builds.store import BuildStore, connect, keys, scripts
from app.builds.store.label_search import MAX_SCANNED_BUILDS
from app.contract.status import Status
from tests.seams.stored import append, claim, dispatch, expire, result, status_of, submit, take
from tests.support.servers.redis_process import RedisProcess


async def test_a_dispatcher_that_stalled_changes_nothing_for_the_next(store: BuildStore) -> None:
    build_id = await submit(store)
    stalled = await take(store, hold=0.001)
    await asyncio.sleep(0.01)  # the deadline is the store's own clock's
    await expire(store)
    current = await take(store)
    assert stalled and current and current.build_id == build_id
    assert not await store.dispatching.sent(stalled, token_id="old", facts_json="", queue_ttl=60)
    await store.dispatching.put_back(stalled, delay=60, reason="no_token", message="")
    assert await store.dispatching.sent(current, token_id="new", facts_json="", queue_ttl=60)
    assert (await store.records.get(build_id)).view.attempt == 1


async def test_recording_an_attempt_may_be_repeated(store: BuildStore) -> None:
    build_id = await submit(store)
    taken = await take(store)
    assert taken
    for _ in range(2):
        assert await store.dispatching.sent(taken, token_id="token", facts_json="", queue_ttl=60)
    assert not await store.dispatching.sent(taken, token_id="other", facts_json="", queue_ttl=60)
    assert (await store.records.get(build_id)).view.attempt == 1


async def test_an_attempt_is_not_recorded_after_the_time_for_it(store: BuildStore) -> None:
    await submit(store)
    taken = await take(store, hold=0.001)
    assert taken
    await asyncio.sleep(0.01)
    assert not await store.dispatching.sent(taken, token_id="token", facts_json="", queue_ttl=60)


async def test_nothing_is_left_of_a_build_after_the_retention(
    store: BuildStore, redis: RedisProcess
) -> None:
    await submit(store, key=("key", "body"))
    build_id, who = await dispatch(store)
    await claim(store, build_id, who)
    await append(store, build_id, who, 0, b"log")
    await store.leases.finish(build_id, who, lease_id="lease of nonce", result=result(log=b"log"))
    await expire(store, retention=3600)
    assert await status_of(store, build_id) == Status.SUCCEEDED
    await asyncio.sleep(0.01)
    await expire(store, retention=0.001, hold=True)
    with pytest.raises(errors.NotFound):
        await store.records.get(build_id)
    async with Redis.from_url(redis.url) as client:
        left: list[Any] = await client.keys()
    staying = {keys.COUNTS.encode(), keys.PACE.encode(), b"{baton}:turn"}
    [idempotency] = set(left) - staying
    assert idempotency.startswith(b"{baton}:idempotency:")
    assert await submit(store, key=("key", "body")) != build_id


async def test_a_record_that_is_gone_keeps_nobody_waiting(
    store: BuildStore, redis: RedisProcess
) -> None:
    gone = await submit(store, "a")
    for _ in range(2):
        await submit(store, "b")
    async with Redis.from_url(redis.url) as client:
        await client.delete(keys.build(gone))
        taken = await take(store)
        assert taken and taken.owner == "b"
        assert await store.dispatching.sent(taken, token_id="t", facts_json="", queue_ttl=0.001)
        lost, _ = await dispatch(store, queue_ttl=0.001)
        await client.delete(keys.build(taken.build_id))
    await asyncio.sleep(0.01)
    assert await expire(store) == ["not_claimed"]
    again = await take(store)
    assert again and again.build_id == lost


async def test_the_attempts_at_a_build_have_an_end(store: BuildStore) -> None:
    await submit(store)
    for _ in range(100):
        build_id, who = await dispatch(store)
        claimed = await claim(store, build_id, who)
        await store.leases.hand_back(build_id, who, lease_id=claimed.lease_id, max_wait=600)
    view = (await store.records.get(build_id)).view
    assert (view.status, view.reason) == (Status.ERRORED, "worker_lost")
    assert len(view.attempts) == 99  # the last one ended the build


async def test_the_log_of_all_attempts_stays_below_what_redis_takes(
    redis: RedisProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = scripts.source
    assert "LARGEST_LOG = 500000000" in source("append")
    monkeypatch.setattr(
        scripts, "source", lambda name: source(name).replace("LOG = 500000000", "LOG = 100")
    )
    store = BuildStore(connect(redis.url))
    await submit(store)
    for attempt in range(2):
        build_id, who = await dispatch(store)
        claimed = await claim(store, build_id, who)
        size = 30 if attempt == 0 else 101 - claimed.log_offset
        if attempt == 0:
            await append(store, build_id, who, 0, b"x" * size)
            await store.leases.hand_back(build_id, who, lease_id=claimed.lease_id, max_wait=600)
        else:
            with pytest.raises(errors.LogFull):
                await append(store, build_id, who, claimed.log_offset, b"x" * size)
            await append(store, build_id, who, claimed.log_offset, b"x" * (size - 1))
    await store.close()


async def test_a_store_that_takes_no_writes_is_unavailable(
    store: BuildStore, redis: RedisProcess
) -> None:
    async with Redis.from_url(redis.url) as client:
        await client.config_set("min-replicas-to-write", 1)
        try:
            with pytest.raises(errors.StoreUnavailable, match="NOREPLICAS"):
                await submit(store)
        finally:
            await client.config_set("min-replicas-to-write", 0)
    await submit(store)


async def test_a_page_of_large_builds_is_shorter(store: BuildStore) -> None:
    spec = {"steps": [{"name": str(n), "run": "x" * 60_000} for n in range(25)]}
    ids = [await submit(store, spec=json.dumps(spec)) for _ in range(5)]
    seen: list[str] = []
    before = None
    for expected in (2, 2, 1):
        page, before = await store.records.page("auth0|ann", status=None, before=before, limit=100)
        assert len(page) == expected
        seen += [build.view.id for build in page]
    assert (seen, before) == (ids[::-1], None)


async def test_a_look_for_a_rare_label_ends_and_can_go_on(store: BuildStore) -> None:
    rare = await submit(store, labels={"rare": "yes"})
    for _ in range(0, MAX_SCANNED_BUILDS, 50):
        await asyncio.gather(*(submit(store, labels={"common": "yes"}) for _ in range(50)))
    page, before = await store.records.page(
        "auth0|ann", status=None, before=None, limit=20, labels=["rare"]
    )
    assert page == []
    assert before is not None
    page, before = await store.records.page(
        "auth0|ann", status=None, before=before, limit=20, labels=["rare"]
    )
    assert ([build.view.id for build in page], before) == ([rare], None)
