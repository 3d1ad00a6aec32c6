"""The store's scripts on a real Redis."""

import asyncio
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
from redis.asyncio import Redis

from app.builds import errors
from app.builds.model import Credential
from app.builds.store import BuildStore, connect, keys
from app.builds.store.results import Claimed, Expired
from app.contract.status import Status
from tests.seams.stored import (
    IDS,
    append,
    claim,
    dispatch,
    expire,
    result,
    status_of,
    submit,
    take,
    with_tail,
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


@pytest.mark.parametrize("protocol", [2, 3])
async def test_a_record_is_the_same_in_either_protocol(redis: RedisProcess, protocol: int) -> None:
    store = BuildStore(connect(f"{redis.url}?protocol={protocol}"))
    build_id = await submit(store, labels={"pr": "17"})
    assert (await store.records.get(build_id)).view.status is Status.QUEUED
    with pytest.raises(errors.NotFound):
        await store.records.get(IDS.new())
    await store.close()


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


async def test_of_many_claims_one_wins_and_may_repeat(store: BuildStore) -> None:
    await submit(store)
    build_id, who = await dispatch(store)
    answers = await asyncio.gather(
        *(claim(store, build_id, who, nonce=f"nonce {n}") for n in range(10)),
        return_exceptions=True,
    )
    won = [n for n, answer in enumerate(answers) if isinstance(answer, Claimed)]
    assert len(won) == 1
    assert sum(isinstance(answer, errors.HeldByAnother) for answer in answers) == 9
    again = await claim(store, build_id, who, nonce=f"nonce {won[0]}")
    assert again.lease_id == f"lease of nonce {won[0]}"


async def test_a_claim_after_the_queue_deadline_is_refused(store: BuildStore) -> None:
    await submit(store)
    build_id, who = await dispatch(store, queue_ttl=0.001)
    await asyncio.sleep(0.01)  # the deadline is the store's own clock's
    with pytest.raises(errors.LeaseLost):
        await claim(store, build_id, who)
    assert await expire(store) == ["not_claimed"]
    assert (await take(store)) is not None


async def test_an_expiry_is_taken_by_exactly_one_watch(store: BuildStore) -> None:
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


async def test_a_build_handed_back_starts_again_at_once_and_counts_as_no_loss(
    store: BuildStore,
) -> None:
    await submit(store)
    for attempt in range(1, 5):
        build_id, who = await dispatch(store)
        claimed = await claim(store, build_id, who)
        assert claimed.attempt == attempt
        await store.leases.hand_back(build_id, who, lease_id=claimed.lease_id, max_wait=600)
        with pytest.raises(errors.LeaseLost):
            await store.leases.renew(build_id, who, lease_id=claimed.lease_id, lease=60)
    view = (await store.records.get(build_id)).view
    assert view.status == Status.QUEUED
    assert {ended.reason for ended in view.attempts} == {"worker_shutdown"}
    assert await expire(store, max_attempts=1) == []


async def test_a_build_handed_back_that_was_cancelled_ends(store: BuildStore) -> None:
    await submit(store)
    build_id, who = await dispatch(store)
    claimed = await claim(store, build_id, who)
    await store.records.cancel(build_id, who.user_id, who=who.user_id)
    await store.leases.hand_back(build_id, who, lease_id=claimed.lease_id, max_wait=600)
    assert await status_of(store, build_id) == Status.CANCELLED


async def test_the_watch_holds_off_while_it_must(store: BuildStore) -> None:
    await submit(store)
    build_id, who = await dispatch(store)
    await claim(store, build_id, who, lease=0.001)
    await asyncio.sleep(0.01)
    assert await expire(store, hold=True) == []
    assert await status_of(store, build_id) == Status.RUNNING


async def test_the_watch_takes_nobody_for_lost_when_it_comes_late(store: BuildStore) -> None:
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


async def test_log_bytes_are_kept_once_and_without_a_gap(store: BuildStore) -> None:
    await submit(store)
    build_id, who = await dispatch(store)
    await claim(store, build_id, who)
    assert await append(store, build_id, who, 0, b"hello") == 5
    assert await append(store, build_id, who, 0, b"hello") == 5
    assert await append(store, build_id, who, 3, b"lo world") == 11
    with pytest.raises(errors.LogGap) as gap:
        await append(store, build_id, who, 12, b"!")
    assert gap.value.end == 11
    with pytest.raises(errors.LogConflict):
        await append(store, build_id, who, 3, b"LO")
    with pytest.raises(errors.LogFull):
        await append(store, build_id, who, 11, b"12345", limit=15)
    assert await store.logs.read(build_id, 0, 100) == b"hello world"


async def test_a_result_stands_once_and_only_with_its_whole_log(store: BuildStore) -> None:
    await submit(store)
    build_id, who = await dispatch(store)
    await claim(store, build_id, who)
    with pytest.raises(errors.LogIncomplete):
        await store.leases.finish(build_id, who, lease_id="lease of nonce", result=result(log=b"x"))
    for _ in range(2):
        await store.leases.finish(build_id, who, lease_id="lease of nonce", result=result())
    with pytest.raises(errors.ResultConflict) as conflict:
        await store.leases.finish(
            build_id, who, lease_id="lease of nonce", result=result(Status.FAILED)
        )
    assert conflict.value.status == Status.SUCCEEDED
    for late in (
        append(store, build_id, who, 0, b"late"),
        claim(store, build_id, who),
        store.leases.renew(build_id, who, lease_id="lease of nonce", lease=60),
    ):
        with pytest.raises(errors.BuildFinal):
            await late
    assert await status_of(store, build_id) == Status.SUCCEEDED


async def test_a_result_brings_the_end_of_the_log_along(store: BuildStore) -> None:
    await submit(store)
    build_id, who = await dispatch(store)
    await claim(store, build_id, who)
    await append(store, build_id, who, 0, b"hello ")
    end = with_tail(b"hello world", b"lo world")  # some of it is there already
    for _ in range(2):
        assert (
            await store.leases.finish(build_id, who, lease_id="lease of nonce", result=end) is None
        )
    assert await store.logs.read(build_id, 0, 100) == b"hello world"
    assert await status_of(store, build_id) == Status.SUCCEEDED


@pytest.mark.parametrize(
    ("tail", "verified", "begins"),
    [(b"hello world", "tail", None), (b"world", "tail", 0), (b"hello world", "", 0)],
)
async def test_nothing_is_recorded_before_the_whole_log_is_verified(
    store: BuildStore, tail: bytes, verified: Literal["tail", ""], begins: int | None
) -> None:
    await submit(store)
    build_id, who = await dispatch(store)
    await claim(store, build_id, who)
    await append(store, build_id, who, 0, b"hello ")
    end = replace(with_tail(b"hello world", tail), verified=verified)
    assert await store.leases.finish(build_id, who, lease_id="lease of nonce", result=end) == begins
    ended = begins is None
    assert await status_of(store, build_id) == (Status.SUCCEEDED if ended else Status.RUNNING)
    assert await store.logs.read(build_id, 0, 100) == b"hello " + b"world" * ended


async def test_a_tail_that_does_not_fit_changes_nothing(store: BuildStore) -> None:
    await submit(store)
    build_id, who = await dispatch(store)
    await claim(store, build_id, who)
    await append(store, build_id, who, 0, b"hello ")
    for end, refusal in (
        (with_tail(b"hello, world", b", world"), errors.LogIncomplete),  # other bytes are there
        (with_tail(b"hello big world", b"world"), errors.LogIncomplete),
        (with_tail(b"hel", b"l"), errors.LogIncomplete),
        (with_tail(b"lo", b"hello"), errors.LogIncomplete),
        (replace(with_tail(b"hello world", b"world"), log_limit=10), errors.LogFull),
    ):
        with pytest.raises(refusal):
            await store.leases.finish(build_id, who, lease_id="lease of nonce", result=end)
    assert await store.logs.read(build_id, 0, 100) == b"hello "
    assert await status_of(store, build_id) == Status.RUNNING


async def test_another_users_token_opens_nothing(store: BuildStore) -> None:
    await submit(store)
    build_id, who = await dispatch(store)
    stranger = Credential(user_id="auth0|bob", token_id=who.token_id)
    with pytest.raises(errors.WrongBuild):
        await claim(store, build_id, stranger)
    await claim(store, build_id, who)
    with pytest.raises(errors.WrongBuild):
        await append(store, build_id, stranger, 0, b"x")


async def test_a_queued_build_is_cancelled_at_once_wherever_it_waits(store: BuildStore) -> None:
    queued, dispatched = await submit(store), None
    await store.records.cancel(queued, "auth0|ann", who="auth0|ann")
    assert await take(store) is None
    await submit(store)
    dispatched, who = await dispatch(store)
    await store.records.cancel(dispatched, "auth0|ann", who="auth0|ann")
    with pytest.raises(errors.BuildFinal):
        await claim(store, dispatched, who)
    await store.records.cancel(dispatched, "auth0|ann", who="auth0|ann")  # twice is fine
    view = (await store.records.get(dispatched)).view
    assert (view.status, view.cancelled_by) == (Status.CANCELLED, "auth0|ann")
    with pytest.raises(errors.NotFound):
        await store.records.cancel(dispatched, "auth0|bob", who="auth0|bob")


async def test_a_running_build_is_asked_to_end_and_its_loss_ends_it(store: BuildStore) -> None:
    await submit(store)
    build_id, who = await dispatch(store)
    await claim(store, build_id, who)
    await store.records.cancel(build_id, "auth0|ann", who="auth0|ann")
    assert await store.leases.renew(build_id, who, lease_id="lease of nonce", lease=0.001)
    await asyncio.sleep(0.01)
    assert await expire(store) == ["cancelled"]
    assert await status_of(store, build_id) == Status.CANCELLED


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


async def test_an_idempotency_key_makes_one_build(store: BuildStore) -> None:
    first = await asyncio.gather(*(submit(store, key=("key", "body")) for _ in range(20)))
    assert len(set(first)) == 1
    with pytest.raises(errors.KeyReused):
        await submit(store, key=("key", "other body"))
    assert await submit(store, "auth0|bob", key=("key", "other body")) not in first


async def test_pages_follow_each_other_newest_first(store: BuildStore) -> None:
    ids = [await submit(store) for _ in range(5)]
    await submit(store, "auth0|bob")
    await store.records.cancel(ids[0], "auth0|ann", who="auth0|ann")
    page, following = await store.records.page("auth0|ann", status=None, before=None, limit=3)
    assert [build.view.id for build in page] == ids[:1:-1]
    assert following == ids[2]
    rest, following = await store.records.page("auth0|ann", status=None, before=ids[2], limit=2)
    assert [build.view.id for build in rest] == [ids[1], ids[0]]
    assert following is None
    cancelled, _ = await store.records.page(
        "auth0|ann", status=Status.CANCELLED, before=None, limit=3
    )
    assert [build.view.id for build in cancelled] == [ids[0]]


async def test_builds_are_found_by_all_of_the_labels_that_are_wanted(store: BuildStore) -> None:
    both = await submit(store, labels={"pr": "17", "team": "web"})
    await submit(store, "auth0|bob", labels={"pr": "17", "team": "web"})
    other = await submit(store, labels={"pr": "18", "team": "web"})
    odd = await submit(store, labels={"url:a": "b:c", "empty": "", "ä\n": "ö"})
    await submit(store)
    await store.records.cancel(both, "auth0|ann", who="auth0|ann")

    async def found(*labels: str, status: Status | None = None) -> list[str]:
        page, following = await store.records.page(
            "auth0|ann", status=status, before=None, limit=3, labels=labels
        )
        assert following is None
        return [build.view.id for build in page]

    assert await found("pr") == [other, both]
    assert await found("pr:17") == [both]
    assert await found("team:web", "pr:18") == [other]
    assert await found("team:web", status=Status.CANCELLED) == [both]
    for text in ("url:a:b:c", "url:a", "empty", "empty:", "ä\n:ö"):
        assert await found(text) == [odd]
    for text in ("17", "url", "pr:1", "PR", "b:c", "pr:17 "):
        assert await found(text) == []


async def test_pages_of_a_label_follow_each_other_without_a_gap_or_a_repeat(
    store: BuildStore,
) -> None:
    ids = [await submit(store, labels={"odd": str(n % 2)}) for n in range(10)]
    seen: list[str] = []
    before = None
    for expected in (2, 2, 1):
        page, before = await store.records.page(
            "auth0|ann", status=None, before=before, limit=2, labels=["odd:1"]
        )
        assert len(page) == expected
        seen += [build.view.id for build in page]
    assert (seen, before) == (ids[::-2], None)


async def test_an_unanswering_store_is_said_to_be_so(tmp_path: Path) -> None:
    store = BuildStore(connect(f"unix://{tmp_path}/nothing"))
    with pytest.raises(errors.StoreUnavailable):
        await submit(store)
    await store.close()
