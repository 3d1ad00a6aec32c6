"""Every call of a user's may be repeated, or come many times at once, through two API replicas."""

import uuid

import pytest

from tests.e2e.replicas import CLIENTS, Holder, Replicas, at_once
from tests.e2e.user import User, steps
from tests.support.stack import Stack


@pytest.fixture
def shared(replicas: Replicas) -> Stack:
    return replicas.stack


def count(ann: User) -> int:
    """How many builds there are of hers; she has fewer than a page holds."""
    page = ann.http.get("/builds", params={"limit": 100}).json()
    assert page["next"] is None
    return len(page["builds"])


async def test_one_key_is_one_build_however_many_submit_it_at_once(
    replicas: Replicas, ann: User
) -> None:
    before = count(ann)
    key = {"Idempotency-Key": uuid.uuid4().hex}
    answers = await at_once(
        replicas,
        ann.token,
        lambda client: client.post("/builds", json=steps("true"), headers=key),
    )
    assert {answer.status_code for answer in answers} == {202}
    [build_id] = {answer.json()["id"] for answer in answers}
    assert {answer.headers["location"] for answer in answers} == {f"/builds/{build_id}"}
    assert count(ann) == before + 1
    other = ann.http.post("/builds", json=steps("false"), headers=key)
    assert other.status_code == 422


async def test_one_key_is_one_build_when_different_specs_race_for_it(
    replicas: Replicas, ann: User
) -> None:
    before = count(ann)
    key = {"Idempotency-Key": uuid.uuid4().hex}
    specs = iter([steps(f"echo {number % 4}") for number in range(CLIENTS)])
    answers = await at_once(
        replicas,
        ann.token,
        lambda client: client.post("/builds", json=next(specs), headers=key),
    )
    assert sorted(answer.status_code for answer in answers) == [202] * 5 + [422] * 15
    assert len({answer.json()["id"] for answer in answers if answer.is_success}) == 1
    assert count(ann) == before + 1


async def test_one_key_is_one_retry_however_many_ask_for_it_at_once(
    replicas: Replicas, ann: User
) -> None:
    build_id = ann.submit(steps("true"))
    ann.cancel(build_id)
    before = count(ann)
    key = {"Idempotency-Key": uuid.uuid4().hex}
    answers = await at_once(
        replicas,
        ann.token,
        lambda client: client.post(f"/builds/{build_id}/retry", headers=key),
    )
    assert {answer.status_code for answer in answers} == {202}
    [retried] = {answer.json()["id"] for answer in answers}
    assert retried != build_id
    assert ann.show(retried)["retry_of"] == build_id
    assert count(ann) == before + 1


@pytest.mark.parametrize("claimed", [False, True])
async def test_cancelling_many_times_at_once_is_one_cancellation(
    replicas: Replicas, ann: User, *, claimed: bool
) -> None:
    build_id = ann.submit(steps("true"))
    if claimed:
        await Holder.claims(replicas, build_id)
    key = {"Idempotency-Key": uuid.uuid4().hex}
    answers = await at_once(
        replicas,
        ann.token,
        lambda client: client.post(f"/builds/{build_id}/cancel", headers=key),
    )
    assert {answer.status_code for answer in answers} == {202 if claimed else 200}
    assert {answer.json()["id"] for answer in answers} == {build_id}
    assert len({answer.json()["cancel_requested_at"] for answer in answers}) == 1
    assert len({answer.json()["finished_at"] for answer in answers}) == 1
