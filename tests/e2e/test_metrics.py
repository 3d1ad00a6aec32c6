"""What Prometheus reads of a stack that has been through something."""

import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.user import User, steps
from tests.support.stack import Stack
from tests.support.waiting import wait_until


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Stack]:
    with Stack(tmp_path, BATON_LEASE="2") as stack:
        yield stack


def scraped(stack: Stack) -> dict[str, float]:
    """Each sample's value, by its name and the values of its labels."""
    answer = httpx.get(f"{stack.api_url}/metrics", timeout=30)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return {
        " ".join([sample.name, *(v for _, v in sorted(sample.labels.items()))]): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_what_happened_to_builds_is_counted_once(own: Stack) -> None:
    before = scraped(own)
    assert before["baton_store_up"] == 1
    assert before["baton_builds_submitted_total"] == 0
    assert "baton_worker_silence_seconds" not in before
    with User(own) as ann:
        waiting = ann.submit(steps("echo hello"))
        now = scraped(own)
        assert (now["baton_builds_queued"], now["baton_builds_running"]) == (1, 0)
        assert now["baton_queue_oldest_seconds"] >= 0
        doomed = own.worker(concurrency=1)
        ann.wait_for(waiting)
        lost = ann.submit(steps("echo begun; sleep 60"))
        ann.wait_for_log(lost, "begun")
        doomed.stop(signal.SIGKILL)
        own.worker(concurrency=1)
        ann.wait_for(lost, "queued", seconds=30)
        ann.wait_for(lost, "running", seconds=30)
        assert scraped(own)["baton_builds_running"] == 1
        ann.cancel(lost)
        ann.wait_for(lost)
        failed = ann.run(steps("exit 3"))
        logs = sum(len(ann.log(each)) for each in (waiting, failed["id"]))
    after = scraped(own)
    assert after["baton_builds_submitted_total"] == 3
    assert after["baton_builds_dispatched_total"] == 4
    assert after["baton_builds_lease_lost_total"] == 1
    ended = {name: value for name, value in after.items() if "ended_total" in name}
    assert ended == {
        "baton_builds_ended_total  succeeded": 1,
        "baton_builds_ended_total cancelled cancelled": 1,
        "baton_builds_ended_total step_failed failed": 1,
    }
    assert after["baton_builds_queued"] == after["baton_builds_running"] == 0
    assert after["baton_log_bytes_total"] > logs > 0
    assert after["baton_mint_seconds_count client_credentials"] == 4
    assert after["baton_send_seconds_count"] == 4
    assert 0 <= after["baton_worker_silence_seconds"] < 60
    # The lost build's second attempt is no wait of a submission.
    assert after["baton_dispatch_wait_seconds_count"] == 3
    assert after["baton_claim_wait_seconds_count"] == 3
    assert after["baton_claim_wait_seconds_sum"] >= after["baton_dispatch_wait_seconds_sum"] > 0
    assert after["baton_dispatch_wait_seconds_bucket +Inf"] == 3
    assert after["baton_dispatch_wait_seconds_bucket 14400"] == 3


def test_requests_are_counted_by_route_and_never_by_build(own: Stack) -> None:
    with User(own) as ann:
        build_id = ann.submit(steps("true"))
        with ann.http.stream("GET", f"/builds/{build_id}/log?follow=1") as followed:
            assert followed.status_code == 200
            assert scraped(own)["baton_streams_open"] == 1
            ann.cancel(build_id)
            followed.read()
        for _ in range(2):
            assert ann.http.get(f"/builds/{build_id}").status_code == 200
    assert httpx.get(f"{own.api_url}/nothing-here").status_code == 404
    assert httpx.request("PROPFIND", f"{own.api_url}/builds").status_code == 405
    wait_until("the stream has ended", lambda: scraped(own)["baton_streams_open"] == 0)
    now = scraped(own)
    requests = "baton_http_requests_total"
    assert now[f"{requests} GET /builds/{{build_id}} 200"] == 2
    assert now[f"{requests} POST /builds 202"] == 1
    assert now[f"{requests} GET /builds/{{build_id}}/log 200"] == 1
    assert now[f"{requests} GET  404"] == 1
    assert now[f"{requests} other /builds 405"] == 1
    assert now["baton_http_request_seconds_count GET /builds/{build_id}"] == 2
    assert not [name for name in now if build_id in name or "PROPFIND" in name]
    assert now["process_resident_memory_bytes"] > 0


def test_a_provider_that_is_away_shows_and_so_does_the_store(own: Stack) -> None:
    failures = "baton_mint_failures_total client_credentials no_token"
    with User(own) as ann:
        own.issuer.stop()
        ann.submit(steps("true"))
        wait_until("the failure is counted", lambda: scraped(own).get(failures), seconds=60)
    assert scraped(own)["baton_builds_queued"] == 1
    own.redis.stop(signal.SIGKILL)
    away = scraped(own)
    assert away["baton_store_up"] == 0
    assert "baton_builds_queued" not in away
    assert away[failures] >= 1
