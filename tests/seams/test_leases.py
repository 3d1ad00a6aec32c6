"""Claims, leases, logs and results: the scripts that workers reach, on a real Redis."""

import asyncio
from dataclasses import replace
from typing import Literal

import pytest

from app.builds import errors
from app.builds.model import Credential
from app.builds.store import BuildStore
from app.builds.store.results import Claimed
from app.contract.status import Status
from tests.seams.stored import (
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
