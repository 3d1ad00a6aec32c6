"""Outages that last many leases: builds go on, end, are submitted, and none of them is lost.

Every outage here is `AWAY` seconds, and a lease one second: what these builds live through is what
they live through with the default lease of 30 s when a part is away for two and a half minutes.
"""

import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from app.contract.queue import QUEUE
from tests.e2e.user import User, steps
from tests.support.servers.redis_process import RedisProcess
from tests.support.stack import Stack
from tests.support.waiting import wait_until

#: A minute and a half, nearly all of it waiting; tests/e2e/test_outages.py has the short ones.
pytestmark = pytest.mark.slow

AWAY = 5.0
LEASE = {"BATON_LEASE": "1"}

#: Prints a numbered line each 0.1 s.
COUNTING = "i=0; while [ $i -lt {0} ]; do echo line $i; i=$((i+1)); sleep 0.1; done"


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Stack]:
    with Stack(tmp_path, **LEASE) as stack:
        yield stack


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[RedisProcess]:
    """A broker apart from the store."""
    folder = tmp_path / "broker"
    folder.mkdir()
    with RedisProcess(folder) as process:
        yield process


def counts_for(seconds: float) -> str:
    return COUNTING.format(int(seconds * 10))


def numbers(log: str) -> list[int]:
    return [
        int(line.removeprefix("line ")) for line in log.splitlines() if line.startswith("line ")
    ]


def submissions(ann: User, seconds: float) -> list[httpx.Response]:
    """What each submission hears, one after another, for as long as an outage lasts.

    None may take longer than 10 s: that is far from what a client waits for.
    """
    answers = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answers.append(ann.http.post("/builds", json=steps("true"), timeout=10))
        time.sleep(0.2)  # a client that tries again, not one that floods
    return answers


def waits_for_the_broker(ann: User, build_id: str) -> bool:
    build = ann.show(build_id)
    return (build["status"], build["reason"]) == ("queued", "broker_unavailable")


def check_untouched(build: dict[str, Any]) -> None:
    """It succeeded at the first attempt: nobody took its worker for lost."""
    assert (build["status"], build["attempt"], build["attempts"]) == ("succeeded", 1, [])


@pytest.mark.parametrize("how", ["killed", "frozen"])
def test_the_store_may_be_away_for_many_leases(own: Stack, how: str) -> None:
    """Killed, it refuses connections; frozen, it takes them, and what it was told meanwhile is
    done when it wakes, much later than it was meant."""
    own.worker()
    with User(own) as ann:
        long = ann.submit(steps(counts_for(2 * AWAY)))
        short = ann.submit(steps(counts_for(AWAY / 2)))
        waiting = ann.submit(steps("echo after all"))
        for build_id in (long, short):
            ann.wait_for_log(build_id, "line 5")
        if how == "killed":
            own.redis.stop(signal.SIGKILL)
        else:
            own.redis.send(signal.SIGSTOP)
        answers = submissions(ann, AWAY)
        if how == "killed":
            own.redis.start()
        else:
            own.redis.send(signal.SIGCONT)

        for answer in answers:
            assert answer.status_code == httpx.codes.SERVICE_UNAVAILABLE, answer.text
            assert answer.json()["type"] == "urn:baton:problem:unavailable"
            assert int(answer.headers["retry-after"]) > 0
        for build_id, lines in ((long, 2 * AWAY), (short, AWAY / 2)):
            check_untouched(ann.wait_for(build_id, seconds=120))
            assert numbers(ann.log(build_id)) == list(range(int(lines * 10)))
        assert ann.wait_for(waiting)["status"] == "succeeded"
        check_untouched(ann.run(steps("true")))


@pytest.mark.parametrize("how", ["killed", "frozen"])
def test_the_api_may_be_away_for_many_leases(own: Stack, how: str) -> None:
    """Frozen stands for a suspended machine: its timers have run out when it wakes."""
    own.worker()
    with User(own) as ann:
        long = ann.submit(steps(counts_for(2 * AWAY)))
        short = ann.submit(steps(counts_for(AWAY / 2)))
        for build_id in (long, short):
            ann.wait_for_log(build_id, "line 5")
        if how == "killed":
            own.api.stop(signal.SIGKILL)
            time.sleep(AWAY)  # the outage
            own.start_api()
        else:
            assert own.api.process is not None
            own.api.process.send_signal(signal.SIGSTOP)
            time.sleep(AWAY)  # the outage
            own.api.process.send_signal(signal.SIGCONT)
        for build_id, lines in ((long, 2 * AWAY), (short, AWAY / 2)):
            check_untouched(ann.wait_for(build_id, seconds=120))
            assert numbers(ann.log(build_id)) == list(range(int(lines * 10)))


def test_the_broker_may_be_away_while_builds_run_end_and_are_submitted(
    tmp_path: Path, broker: RedisProcess
) -> None:
    with Stack(tmp_path, **LEASE, BATON_BROKER_URL=broker.url) as stack, User(stack) as ann:
        stack.worker(BATON_BROKER_URL=broker.url)
        long = ann.submit(steps(counts_for(2 * AWAY)))
        short = ann.submit(steps(counts_for(AWAY / 2)))
        for build_id in (long, short):
            ann.wait_for_log(build_id, "line 5")
        broker.stop(signal.SIGKILL)
        submitted = [ann.submit(steps("echo after all")) for _ in range(3)]
        # Its end is on record while the broker is still away.
        check_untouched(ann.wait_for(short))
        for build_id in submitted[:2]:  # beyond these, ann is at her limit or the dispatcher waits
            wait_until("it says why it waits", partial(waits_for_the_broker, ann, build_id))
        broker.start()
        check_untouched(ann.wait_for(long, seconds=120))
        for build_id in submitted:
            build = ann.wait_for(build_id, seconds=120)
            assert (build["status"], build["reason"]) == ("succeeded", None)
        assert numbers(ann.log(long)) == list(range(int(20 * AWAY)))


def test_a_broker_that_comes_back_empty_costs_time_and_no_build(
    tmp_path: Path, broker: RedisProcess
) -> None:
    with (
        Stack(tmp_path, **LEASE, BATON_BROKER_URL=broker.url, BATON_QUEUE_TTL="6") as stack,
        User(stack) as ann,
    ):
        build_id = ann.submit(steps("echo at last"))

        def queued() -> int:
            with redis.Redis.from_url(broker.url) as client:
                found: int = client.llen(QUEUE)
                return found

        wait_until("its message is in the broker", queued)
        with redis.Redis.from_url(broker.url) as client:
            client.flushall()
        stack.worker(BATON_BROKER_URL=broker.url)
        build = ann.wait_for(build_id)
        assert (build["status"], build["attempt"]) == ("succeeded", 2)
        assert ann.log(build_id).count("at last") == 1
