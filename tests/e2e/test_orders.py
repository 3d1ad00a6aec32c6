"""Orders reach a worker whose build is silent, through any replica, and nobody asks for them."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import redis

from app.builds.store import keys
from tests.e2e.replicas import Holder, Replicas
from tests.e2e.test_cancel import alive
from tests.e2e.test_metrics import scraped
from tests.e2e.user import User, steps
from tests.support.stack import Stack
from tests.support.waiting import wait_until

ROUTE = "POST /builds/{build_id}/heartbeat"
ANSWERED = f"baton_http_requests_total {ROUTE}"


@pytest.fixture
def shared(replicas: Replicas) -> Stack:
    return replicas.stack


async def claimed(replicas: Replicas, ann: User) -> Holder:
    return await Holder.claims(replicas, ann.submit(steps("true")))


@asynccontextmanager
async def held(
    holder: Holder, url: str, seconds: int = 600
) -> AsyncIterator["asyncio.Task[httpx.Response]"]:
    """A heartbeat that the replica at `url` holds by now: it has renewed the lease."""
    with redis.Redis.from_url(holder.replicas.stack.redis.url) as store:
        before = store.zscore(keys.LEASES, holder.build_id)
        async with client(holder, url) as http:
            task = asyncio.create_task(http.post(path(holder), headers=preferring(seconds)))
            while store.zscore(keys.LEASES, holder.build_id) == before:
                await asyncio.sleep(0.01)
            yield task
            task.cancel()
            await asyncio.wait({task})


def client(holder: Holder, url: str) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {holder.token}", "Baton-Lease": holder.lease}
    return httpx.AsyncClient(base_url=url, headers=headers, timeout=60, trust_env=False)


def path(holder: Holder, call: str = "/heartbeat") -> str:
    return f"/builds/{holder.build_id}{call}"


def preferring(seconds: int) -> dict[str, str]:
    return {"Prefer": f"respond-async, wait={seconds}"}


async def test_a_cancel_at_one_replica_ends_the_wait_at_another(
    replicas: Replicas, ann: User
) -> None:
    holder = await claimed(replicas, ann)
    async with held(holder, replicas.urls[1]) as heartbeat:
        begun = time.monotonic()
        ann.cancel(holder.build_id)
        answer = await heartbeat
    assert answer.status_code == 200
    assert answer.json()["cancel"]
    assert answer.headers["preference-applied"] == "wait=20", "a third of the lease"
    assert time.monotonic() - begun < 10


async def test_a_worker_that_prefers_nothing_is_answered_at_once(
    replicas: Replicas, ann: User
) -> None:
    holder = await claimed(replicas, ann)
    async with client(holder, replicas.urls[0]) as http:
        for headers in ({}, {"Prefer": "respond-async"}, preferring(0)):
            answer = await http.post(path(holder), headers=headers)
            assert (answer.status_code, answer.json()["cancel"]) == (200, False)
            assert "preference-applied" not in answer.headers


@pytest.mark.parametrize(
    ("report", "code"),
    [({"status": "queued"}, "lease-lost"), ({"status": "succeeded"}, "build-final")],
)
async def test_a_build_that_is_not_the_workers_any_more_is_refused_at_once(
    replicas: Replicas, ann: User, report: dict[str, str], code: str
) -> None:
    holder = await claimed(replicas, ann)
    async with (
        held(holder, replicas.urls[0]) as heartbeat,
        client(holder, replicas.urls[1]) as http,
    ):
        body = report if code == "lease-lost" else holder.result(b"")
        said = await http.put(path(holder, ""), json=body)
        assert said.status_code == 200, said.text
        answer = await heartbeat
    assert answer.json()["type"] == f"urn:baton:problem:{code}"
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_wait_is_no_slow_answer_and_ends_with_its_client(
    replicas: Replicas, ann: User
) -> None:
    holder = await claimed(replicas, ann)
    before = scraped(replicas.stack)
    async with held(holder, replicas.urls[0], seconds=2) as heartbeat:
        answer = await heartbeat
        assert (answer.status_code, answer.json()["cancel"]) == (200, False)
    async with held(holder, replicas.urls[0]):
        pass  # the worker is gone
    answered = f"{ANSWERED} 200"

    def both() -> bool:
        return scraped(replicas.stack)[answered] == before.get(answered, 0) + 2

    wait_until("nobody is waited for", both, seconds=15)
    name = f"baton_http_request_seconds_sum {ROUTE}"
    assert scraped(replicas.stack)[name] - before.get(name, 0) < 2


async def test_an_api_that_is_told_to_end_answers_what_it_holds(
    replicas: Replicas, ann: User
) -> None:
    holder = await claimed(replicas, ann)
    part, url = replicas.stack.replica()
    async with held(holder, url) as heartbeat:
        assert part.process
        part.process.send_signal(signal.SIGTERM)
        answer = await heartbeat
        assert (answer.status_code, answer.json()["cancel"]) == (200, False)
        assert answer.headers["preference-applied"] == "wait=20"
        assert answer.headers["connection"] == "close"
        await asyncio.to_thread(part.process.wait, 20)


def test_a_silent_build_hears_of_its_cancel_at_once(tmp_path: Path) -> None:
    marker = "86396.25"  # seconds that nobody else sleeps
    with Stack(tmp_path, BATON_LEASE="60") as stack, User(stack) as ann:
        stack.worker()
        build_id = ann.submit(steps(f"sleep {marker}"))
        wait_until(
            "it runs", lambda: [s["status"] for s in ann.show(build_id)["steps"]] == ["running"]
        )
        wait_until("and sleeps", lambda: alive(marker))
        begun = time.monotonic()
        ann.cancel(build_id)
        build = ann.wait_for(build_id)
        assert (build["status"], build["reason"]) == ("cancelled", "cancelled")
        assert time.monotonic() - begun < 10, "heartbeats come every 16 to 20 s"
        assert not alive(marker)
        calls = {name: n for name, n in scraped(stack).items() if name.startswith(ANSWERED)}
        assert sum(calls.values()) <= 2, calls
