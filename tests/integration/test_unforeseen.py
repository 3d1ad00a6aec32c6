"""A failure outside of every endpoint: in something that stands before them, say."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import httpx
import pytest
from starlette.requests import Request
from starlette.routing import Route

from app.bootstrap.api import create_app
from app.config.settings import Settings
from app.contract.sealing import new_key
from app.observability.tracing import Tracing
from tests.support.providers.authority import AUDIENCE, Authority
from tests.support.servers.collector import Collector, collecting
from tests.support.servers.redis_process import RedisProcess
from tests.support.servers.serving import serve
from tests.support.waiting import wait_until

TOKEN = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbm4ifQ.c2lnbmF0dXJl"


async def fails(_: Request) -> NoReturn:
    raise RuntimeError(f"the secret reason: Bearer {TOKEN}")


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        yield collector


@pytest.fixture
def url(tmp_path: Path, collector: Collector) -> Iterator[str]:
    assert collector.url
    with RedisProcess(tmp_path) as redis, Authority() as authority:
        settings = Settings.from_env(
            {
                "BATON_REDIS_URL": redis.url,
                "BATON_ISSUER": authority.issuer,
                "BATON_AUDIENCE": AUDIENCE,
                "BATON_MINT_CLIENT_SECRET": "a secret",
                "BATON_MESSAGE_KEYS": new_key(),
                "BATON_API_URL": "https://example.com",
            }
        )
        app = create_app(settings, Tracing.from_env("baton-api", os.environ))
        app.router.routes.append(Route("/fails", fails))
        with serve(app) as url:
            yield url


def test_it_is_answered_like_any_other_and_logged(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        answer = httpx.get(f"{url}/fails")
        wait_until("it is logged", lambda: "the secret reason" in caplog.text)

    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == "urn:baton:problem:internal-error"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert answer.headers["strict-transport-security"].startswith("max-age=")
    assert "secret" not in answer.text


def test_it_is_on_its_span_with_its_traceback(url: str, collector: Collector) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    httpx.get(f"{url}/fails", headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-01"})
    [span] = collector.wait_for(trace, "GET")
    assert span.failed and span.attributes["error.type"] == "RuntimeError"
    [(name, event)] = span.events
    assert (name, event["exception.type"]) == ("exception", "RuntimeError")
    assert event["exception.message"] == "the secret reason: Bearer [token]"
    assert "in fails" in event["exception.stacktrace"]
    assert TOKEN.encode() not in b"".join(collector.bodies)


def test_two_parents_are_none(url: str, collector: Collector) -> None:
    """W3C Trace Context §3.2: `traceparent` comes once, or not at all."""
    parents = [f"00-{letter * 32}-{letter * 16}-01" for letter in "ab"]
    httpx.get(f"{url}/fails", headers=[("traceparent", each) for each in parents])
    wait_until("the span has come", lambda: collector.spans)
    [span] = collector.spans
    assert span.parent == "" and span.trace not in {"a" * 32, "b" * 32}
