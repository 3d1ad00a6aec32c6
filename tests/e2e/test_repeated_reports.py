"""Every call of a worker's may be repeated, come late, or come many times at once, through two API
replicas. No worker runs: the test is the worker."""

import random
import uuid

import httpx
import pytest

from tests.e2e.replicas import CLIENTS, Holder, Replicas, at_once
from tests.e2e.user import User, steps
from tests.support.stack import Stack

LOG = b"".join(b"line %d\n" % number for number in range(200))
PIECE = 100  #: bytes of one append


@pytest.fixture
def shared(replicas: Replicas) -> Stack:
    return replicas.stack


def codes(answers: list[httpx.Response]) -> set[tuple[int, str]]:
    """The answers' statuses, each with the problem's own code where there is one."""
    return {
        (
            answer.status_code,
            answer.json().get("type", "").removeprefix("urn:baton:problem:"),
        )
        for answer in answers
    }


OK = {(200, "")}
FINAL = {(410, "build-final")}


async def test_of_many_workers_with_one_message_one_gets_the_build(
    replicas: Replicas, ann: User
) -> None:
    build_id = ann.submit(steps("true"))
    token = replicas.message(build_id)
    answers = await at_once(
        replicas,
        token,
        lambda client: client.post(
            f"/builds/{build_id}/claim", json={"nonce": uuid.uuid4().hex, "worker": "one of many"}
        ),
    )
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * (CLIENTS - 1)
    assert codes(answers) == {(200, ""), (409, "held-by-another")}
    build = ann.show(build_id)
    assert (build["status"], build["attempt"]) == ("running", 1)


async def test_every_call_of_a_build_many_times_at_once_is_once(
    replicas: Replicas, ann: User
) -> None:
    build_id = ann.submit(steps("true"))
    worker = await Holder.claims(replicas, build_id)
    assert codes(await worker.says("POST", "/heartbeat")) == OK
    progress = {"status": "running", "steps": [{"name": "step 0", "status": "running"}]}
    assert codes(await worker.says("PUT", body=progress)) == OK
    half = len(LOG) // 2
    for start, piece in ((0, LOG[:half]), (half, LOG[half:])):
        answers = await worker.says("PATCH", "/log", piece, offset=start)
        assert codes(answers) == {(202, "")}
        assert {answer.json()["end"] for answer in answers} == {start + len(piece)}
    assert codes(await worker.says("PUT", body=worker.result(LOG))) == OK

    # And all of it once more, too late: the same result is fine, nothing changes.
    before = ann.show(build_id)
    assert codes(await worker.says("PUT", body=worker.result(LOG))) == OK
    claim = {"nonce": worker.nonce, "worker": "the test"}
    assert codes(await worker.says("POST", "/claim", claim)) == FINAL
    assert codes(await worker.says("POST", "/heartbeat")) == FINAL
    assert codes(await worker.says("PUT", body=progress)) == FINAL
    assert codes(await worker.says("PUT", body={"status": "queued"})) == FINAL
    assert codes(await worker.says("PATCH", "/log", LOG[:half], offset=0)) == FINAL
    failed = worker.result(LOG, "failed")
    assert codes(await worker.says("PUT", body=failed)) == {(409, "result-conflict")}
    assert ann.show(build_id) == before
    assert before["status"] == "succeeded"
    assert ann.log(build_id).encode() == LOG


async def test_a_log_in_any_order_and_many_times_over_is_the_log(
    replicas: Replicas, ann: User
) -> None:
    """Pieces overlap, come early, late and twice at once; the worker sends again what is asked
    for. In between, results that are too early are refused."""
    build_id = ann.submit(steps("true"))
    worker = await Holder.claims(replicas, build_id)
    dice = random.Random(7)  # noqa: S311  no secret
    starts = [start for start in range(0, len(LOG), PIECE // 2) for _ in range(3)]
    dice.shuffle(starts)

    async def append(client: httpx.AsyncClient, start: int) -> httpx.Response:
        piece = LOG[start : start + PIECE]
        return await client.patch(
            f"/builds/{build_id}/log",
            content=piece,
            headers={
                "Baton-Lease": worker.lease,
                "Content-Type": "application/octet-stream",
                "Content-Range": f"bytes {start}-{start + len(piece) - 1}/*",
            },
        )

    async def sends(client: httpx.AsyncClient) -> httpx.Response:
        """One of the worker's connections: takes pieces until none is left."""
        answer = await append(client, 0)
        while starts:
            answer = await append(client, starts.pop())
            assert codes([answer]) <= {(202, ""), (416, "log-gap")}, answer.text
            while answer.status_code == 416:
                answer = await append(client, answer.json()["end"])
            early = await client.put(
                f"/builds/{build_id}",
                json=worker.result(LOG + b"more"),
                headers={"Baton-Lease": worker.lease},
            )
            assert early.json()["type"] == "urn:baton:problem:log-incomplete"
        return answer

    await at_once(replicas, worker.token, sends)
    end = ann.show(build_id)["log"]["length"]
    while end < len(LOG):  # what no piece happened to bring
        [end] = {
            answer.json()["end"]
            for answer in await worker.says("PATCH", "/log", LOG[end : end + PIECE], offset=end)
        }
    assert codes(await worker.says("PUT", body=worker.result(LOG))) == OK
    assert ann.log(build_id).encode() == LOG


async def test_of_different_results_at_once_one_stands(replicas: Replicas, ann: User) -> None:
    build_id = ann.submit(steps("true"))
    worker = await Holder.claims(replicas, build_id)
    results = iter(
        worker.result(b"", ("succeeded", "failed")[number // 2 % 2]) for number in range(CLIENTS)
    )
    answers = await at_once(
        replicas,
        worker.token,
        lambda client: client.put(
            f"/builds/{build_id}", json=next(results), headers={"Baton-Lease": worker.lease}
        ),
    )
    assert codes(answers) == {(200, ""), (409, "result-conflict")}
    assert sum(answer.is_success for answer in answers) == CLIENTS // 2
    status = ann.show(build_id)["status"]
    for answer in answers:
        if not answer.is_success:
            assert answer.json()["recorded"]["status"] == status


async def test_a_build_handed_back_many_times_at_once_goes_round_once(
    replicas: Replicas, ann: User
) -> None:
    build_id = ann.submit(steps("true"))
    first = await Holder.claims(replicas, build_id)
    answers = await first.says("PUT", body={"status": "queued"})
    assert codes(answers) == {(200, ""), (409, "lease-lost")}
    assert sum(answer.is_success for answer in answers) == 1

    second = await Holder.claims(replicas, build_id, but=first.token)
    build = ann.show(build_id)
    assert (build["status"], build["attempt"]) == ("running", 2)
    assert [lost["reason"] for lost in build["attempts"]] == ["worker_shutdown"]
    # What the first one says now, again and again, is nothing to the second.
    assert codes(await first.says("PUT", body={"status": "queued"})) == {(409, "lease-lost")}
    assert codes(await first.says("POST", "/heartbeat")) == {(409, "lease-lost")}
    assert codes(await first.says("PATCH", "/log", b"late", offset=0)) == {(409, "lease-lost")}
    assert codes(await first.says("PUT", body=first.result(b""))) == {(409, "lease-lost")}
    assert ann.show(build_id) == build
    assert codes(await second.says("PATCH", "/log", LOG, offset=0)) == {(202, "")}
    assert codes(await second.says("PUT", body=second.result(LOG))) == OK
    assert ann.log(build_id).encode().endswith(LOG)


async def test_a_hand_back_and_a_result_at_once_end_in_one_of_the_two(
    replicas: Replicas, ann: User
) -> None:
    build_id = ann.submit(steps("true"))
    worker = await Holder.claims(replicas, build_id)
    bodies = iter(
        {"status": "queued"} if number // 2 % 2 else worker.result(b"") for number in range(CLIENTS)
    )
    answers = await at_once(
        replicas,
        worker.token,
        lambda client: client.put(
            f"/builds/{build_id}", json=next(bodies), headers={"Baton-Lease": worker.lease}
        ),
    )
    build = ann.show(build_id)
    if build["status"] == "succeeded":
        assert codes(answers) == {(200, ""), (410, "build-final")}
        assert sum(answer.is_success for answer in answers) == CLIENTS // 2
    else:
        assert build["status"] == "queued"
        # The line about the attempt's end may be in the log before the result is looked at: then
        # the answer is what the log lacks, and the worker hears of its lease by sending that.
        assert codes(answers) <= {(200, ""), (409, "lease-lost"), (412, "log-incomplete")}
        assert sum(answer.is_success for answer in answers) == 1
