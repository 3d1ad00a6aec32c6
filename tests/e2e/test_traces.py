"""One trace, from the request that submits a build to the last report, on real parts."""

import secrets
import signal
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.user import User, steps
from tests.support.repository import Repository
from tests.support.servers.collector import Collector, Span, collecting
from tests.support.servers.redis_process import free_port
from tests.support.stack import Part, Stack
from tests.support.waiting import wait_until

EMAIL = "ann.the.user@example.com"
WARNING = "traces do not arrive"

#: What an attempt that goes well leaves, beside the API's spans for its calls.
ATTEMPT = ("dispatch", "mint", "send", "run_build", "claim", "ship_log", "report")


class Spa:
    """A user whose SPA is traced, too: each submission is a trace of its own."""

    def __init__(self, user: User) -> None:
        self.user = user

    def submit(self, spec: dict[str, Any], *, sampled: str = "01") -> tuple[str, str, str]:
        """Returns the build's id, the trace, and the SPA's span in it."""
        trace, span = secrets.token_hex(16), secrets.token_hex(8)
        headers = {"traceparent": f"00-{trace}-{span}-{sampled}", "tracestate": "spa=1"}
        answer = self.user.http.post("/builds", json=spec, headers=headers)
        assert answer.status_code == 202, answer.text
        return answer.json()["id"], trace, span


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, collector: Collector) -> Iterator[Stack]:
    with Stack(
        tmp_path_factory.mktemp("stack"),
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
        BATON_LOG_FORMAT="json",
    ) as stack:
        yield stack


@pytest.fixture(scope="module")
def worker(stack: Stack, collector: Collector) -> Part:
    return stack.worker(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, BATON_LOG_FORMAT="json")


@pytest.fixture
def spa(stack: Stack) -> Iterator[Spa]:
    with User(stack, EMAIL) as user:
        yield Spa(user)


def says(part: Part) -> bool:
    return WARNING in part.output()


def one(spans: Sequence[Span], name: str, **attributes: Any) -> Span:
    wanted = attributes.items()
    found = [s for s in spans if s.name == name and wanted <= s.attributes.items()]
    assert len(found) == 1, (name, attributes, [(s.name, s.attributes) for s in spans])
    return found[0]


def children(spans: Sequence[Span], parent: Span) -> list[str]:
    return [span.name for span in spans if span.parent == parent.id]


@pytest.mark.usefixtures("worker")
def test_a_build_is_one_trace_from_the_spa_to_its_last_report(
    spa: Spa, collector: Collector, tmp_path: Path
) -> None:
    repository = Repository(tmp_path / "site")
    repository.commit(README="hello")
    spec = steps("echo trace $TRACEPARENT $TRACESTATE", "sleep 3; exit 7", "echo never")
    build_id, trace, origin = spa.submit(spec | {"source": {"git": repository.url}})
    build = spa.user.wait_for(build_id)
    assert build["status"] == "failed"
    calls = ("POST /builds", "POST /builds/{build_id}/claim", "PUT /builds/{build_id}")
    spans = collector.wait_for(trace, *ATTEMPT, *calls)

    request = one(spans, "POST /builds")
    assert (request.parent, request.service, request.kind) == (origin, "baton-api", "SERVER")
    assert request.attributes["http.route"] == "/builds"
    assert request.attributes["http.response.status_code"] == 202
    dispatch = one(spans, "dispatch")
    assert dispatch.parent == request.id
    assert dispatch.attributes == {"baton.build.id": build_id, "baton.attempt": 1}
    assert children(spans, dispatch) == ["mint", "send"]
    assert one(spans, "mint").attributes["baton.mint.provider"] == "client_credentials"
    send = one(spans, "send")
    run = one(spans, "run_build")
    assert (send.kind, run.kind, run.service) == ("PRODUCER", "CONSUMER", "baton-worker")
    assert run.parent == send.id
    assert run.attributes["baton.build.id"] == build_id
    assert run.attributes["baton.attempt"] == 1
    assert run.attributes["baton.status"] == "failed"
    assert run.failed and run.attributes["error.type"] == "step_failed"
    assert children(spans, run) == [
        "claim", "ship_log", "checkout", "step step 0", "step step 1", "report"
    ]  # fmt: skip

    first, second = one(spans, "step step 0"), one(spans, "step step 1")
    assert first.attributes == {"baton.step.status": "succeeded", "baton.step.exit_code": 0}
    assert second.attributes["baton.step.exit_code"] == 7
    assert second.failed and not first.failed
    assert children(spans, one(spans, "claim")) == ["POST /builds/{build_id}/claim"]
    assert children(spans, one(spans, "report")) == ["PUT /builds/{build_id}"]
    # Heartbeats, progress and pieces of log went to and fro meanwhile, and left one span in all.
    ship = one(spans, "ship_log")
    assert ship.attributes["baton.log.bytes"] == build["log"]["length"]
    assert ship.attributes["baton.log.pieces"] >= 1
    assert len(spans) == len(ATTEMPT) + len(calls) + len(["checkout", "step 0", "step 1"])
    # What a build itself starts can go on from its step.
    assert f"trace 00-{trace}-{first.id}-01 spa=1" in spa.user.log(build_id)


@pytest.mark.usefixtures("worker")
def test_log_lines_of_a_build_say_which_trace_they_belong_to(
    spa: Spa, stack: Stack, worker: Part, collector: Collector
) -> None:
    build_id, trace, _ = spa.submit(steps("true"))
    spa.user.wait_for(build_id)
    run = one(collector.wait_for(trace, *ATTEMPT), "run_build")
    wait_until("the worker has said so", lambda: build_id in worker.output())
    ended = next(
        line
        for line in worker.output().splitlines()
        if build_id in line and "ended: succeeded" in line
    )
    assert f'"trace_id": "{trace}", "span_id": "{run.id}"' in ended
    dispatched = [line for line in stack.api.output().splitlines() if build_id in line]
    assert any(trace in line and '"dispatched"' in line for line in dispatched)


@pytest.mark.usefixtures("worker")
def test_what_the_caller_does_not_sample_leaves_nothing(spa: Spa, collector: Collector) -> None:
    build_id, unsampled, _ = spa.submit(steps("true"), sampled="00")
    spa.user.wait_for(build_id)
    later, sampled, _ = spa.submit(steps("true"))
    spa.user.wait_for(later)
    collector.wait_for(sampled, *ATTEMPT)
    assert collector.of(unsampled) == []


def test_a_second_attempt_after_a_lost_worker_is_in_the_same_trace(
    spa: Spa, stack: Stack, collector: Collector, worker: Part
) -> None:
    worker.stop()
    lost = stack.worker(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)
    build_id, trace, _ = spa.submit(
        steps("true", 'echo here; [ "$BATON_ATTEMPT" = 2 ] || sleep 1000')
    )
    spa.user.wait_for_log(build_id, "here")
    # What had ended when the worker died is not lost with it.
    collector.wait_for(trace, "claim", "step step 0")
    lost.stop(signal.SIGKILL)
    worker.start()
    assert spa.user.wait_for(build_id)["status"] == "succeeded"
    spans = collector.wait_for(trace, "dispatch", *ATTEMPT)
    request = one(spans, "POST /builds")
    for attempt in (1, 2):
        dispatch = one(spans, "dispatch", **{"baton.attempt": attempt})
        assert dispatch.parent == request.id
    second = one(spans, "run_build", **{"baton.attempt": 2})
    [sent] = [s for s in spans if s.name == "send" and s.parent == dispatch.id]
    assert second.parent == sent.id
    assert second.attributes["baton.status"] == "succeeded" and not second.failed


@pytest.mark.usefixtures("worker")
def test_no_secret_and_no_user_is_in_any_span(spa: Spa, stack: Stack, collector: Collector) -> None:
    canary = secrets.token_hex(16)
    spec = steps(f"echo {canary}", "exit 1") | {"env": {"PASSWORD": canary}}
    spec["steps"][0]["env"] = {"TOKEN": canary}
    build_id, trace, _ = spa.submit(spec)
    spa.user.wait_for(build_id)
    spa.user.http.get(f"/builds/{build_id}/log")
    spa.user.http.get(f"/builds/{stack.token(EMAIL)}/log?access_token={canary}")
    spa.user.http.get(f"/nowhere/{EMAIL}/{canary}")
    collector.wait_for(trace, *ATTEMPT)
    wait_until("other requests are there", lambda: any(s.name == "GET" for s in collector.spans))
    told = b"\n".join(collector.bodies)
    assert build_id.encode() in told
    _, payload, signature = stack.token(EMAIL).split(".")
    for word in (canary, EMAIL, payload, signature, "the-secret-of-the-tests", "eyJ"):
        assert word.encode() not in told, word
    assert b"/builds/[token]/log" in told


@pytest.mark.usefixtures("worker")
def test_what_goes_wrong_while_minting_is_told(collector: Collector, tmp_path: Path) -> None:
    refused = f"http://127.0.0.1:{free_port()}/oauth/token"
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "BATON_MINT_TOKEN_URL": refused}
    with Stack(tmp_path, **settings) as stack, User(stack) as user:
        build_id, trace, _ = Spa(user).submit(steps("true"))
        spans = collector.wait_for(trace, "dispatch", "mint")
        mint = next(span for span in spans if span.name == "mint")
        assert mint.failed and mint.attributes["baton.reason"] == "no_token"
        dispatch = next(span for span in spans if span.id == mint.parent)
        assert dispatch.failed and dispatch.why == "no_token"
        user.cancel(build_id)


@pytest.mark.parametrize("how", ["is away", "hangs", "refuses"])
def test_a_collector_that_does_not_work_changes_nothing(tmp_path: Path, how: str) -> None:
    with collecting() as collector:
        collector.hangs.set()
        url = {
            "is away": f"http://127.0.0.1:{free_port()}",
            "hangs": collector.url,
            "refuses": f"{collector.url}/elsewhere",
        }[how]
        if how == "refuses":
            collector.hangs.clear()
        slow = {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_EXPORTER_OTLP_TIMEOUT": "10"}
        with Stack(tmp_path, **slow) as stack, User(stack) as user:
            worker = stack.worker(
                concurrency=1, OTEL_EXPORTER_OTLP_ENDPOINT=url, OTEL_EXPORTER_OTLP_TIMEOUT="10"
            )
            builds = [Spa(user).submit(steps("echo hello"))[0] for _ in range(4)]
            begun = time.monotonic()
            for build_id in builds:
                assert user.wait_for(build_id)["status"] == "succeeded"
                assert "hello" in user.log(build_id)
            # One after the other, and none waits for the collector: a single try takes 10 s.
            assert time.monotonic() - begun < 35
            for part in (worker, stack.api):
                wait_until(f"{part.name} says so", partial(says, part))
            begun = time.monotonic()
            worker.stop()
            stack.api.stop()
            assert time.monotonic() - begun < 15
            for part in (worker, stack.api):
                assert part.output().count(WARNING) == 1
                assert "Traceback" not in part.output()
