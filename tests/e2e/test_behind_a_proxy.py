"""Baton behind nginx and Caddy, by the files of docs/deploy: at a host's root, and below a path.

Clients and the worker know nothing but the proxy.
"""

import re
import ssl
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest
import redis

from app.api.middleware.security_headers import fixed_headers
from tests.e2e.user import FINAL, steps
from tests.integration.dev_process import environment
from tests.support.event_stream import events
from tests.support.servers.certificates import Certificate, certificate_for
from tests.support.servers.proxies import Caddy, Nginx, spare_port
from tests.support.stack import AUDIENCE, Stack
from tests.support.terminal.commands import run
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

#: Not one for which clients leave the environment's authorities aside, as they do on loopback.
HOST = "127.0.0.2"
#: Long enough that no order comes to a worker by chance: a heartbeat is held for 16 to 20 s.
LEASE = "60"
#: By the name of its configuration, the path that the API is published at.
PATHS = {"root": "", "below-a-path": "/baton"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Site:
    """An API as the world sees it."""

    url: str
    http: httpx.Client  #: Ann's
    stranger: httpx.Client  #: the same without a token
    stack: Stack
    api_url: str  #: behind the proxy
    context: ssl.SSLContext
    trust: dict[str, str]  #: the environment of a program that believes the proxy's certificate

    def submit(self, script: str) -> str:
        answer = self.http.post("/builds", json=steps(script))
        assert answer.status_code == httpx.codes.ACCEPTED, answer.text
        return str(answer.json()["id"])

    def ended(self, build_id: str, seconds: float = 60) -> dict[str, Any]:
        def final() -> dict[str, Any] | None:
            build: dict[str, Any] = self.http.get(f"/builds/{build_id}").json()
            return build if build["status"] in FINAL else None

        return wait_until("the build ends", final, seconds=seconds) or {}

    def streams_open(self) -> float:
        metrics = httpx.get(f"{self.api_url}/metrics").text
        [value] = re.findall(r"^baton_streams_open (\S+)", metrics, re.MULTILINE)
        return float(value)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return certificate_for(HOST, tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    settings = {"BATON_TRUSTED_PROXIES": "127.0.0.1", "BATON_LEASE": LEASE}
    with Stack(tmp_path_factory.mktemp("stack"), **settings) as stack:
        yield stack


@pytest.fixture(scope="module")
def apis(stack: Stack) -> dict[str, tuple[str, str]]:
    """For each path an API: where it is published, and where it is."""
    found = {}
    for name, path in PATHS.items():
        url = f"https://{HOST}:{spare_port()}{path}"
        found[name] = (url, stack.replica(url)[1])
    return found


@pytest.fixture(
    scope="module",
    params=[(proxy, name) for proxy in (Nginx, Caddy) for name in PATHS],
    ids=lambda param: f"{param[0].__name__}-{param[1]}",
)
def site(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    stack: Stack,
    apis: dict[str, tuple[str, str]],
    certificate: Certificate,
) -> Iterator[Site]:
    proxy, name = request.param
    url, api_url = apis[name]
    trust = {"SSL_CERT_FILE": str(certificate.authority), "NO_PROXY": HOST}
    with proxy(name, url, api_url, certificate).start(tmp_path_factory.mktemp("proxy")) as begun:
        worker = stack.worker(concurrency=2, **{"BATON_API_URL": url, **trust})
        client = {"base_url": url, "verify": begun.context(), "trust_env": False, "timeout": 30}
        bearer = {"Authorization": f"Bearer {stack.token()}"}
        with (
            httpx.Client(**client) as stranger,
            httpx.Client(**client, headers=bearer) as http,
        ):
            yield Site(
                url=url,
                http=http,
                stranger=stranger,
                stack=stack,
                api_url=api_url,
                context=client["verify"],
                trust=trust,
            )
        worker.stop()
        assert "the heartbeat waits" not in worker.output()


def test_who_has_no_token_is_led_to_the_metadata(site: Site) -> None:
    challenge = site.stranger.get("/builds").headers["www-authenticate"]
    [where] = re.findall(r'resource_metadata="([^"]+)"', challenge)
    assert where.startswith(f"https://{HOST}:")
    for each in where, f"{site.url}/.well-known/oauth-protected-resource":
        answer = site.stranger.get(each)
        assert answer.status_code == httpx.codes.OK, each
        assert answer.json()["resource"] == site.url


@pytest.mark.parametrize("page", ["", "/docs"], ids=["dashboard", "docs"])
def test_a_page_loads_with_all_of_its_files(site: Site, page: str) -> None:
    wanted = {site.url + page}
    seen: dict[str, str] = {}
    while wanted:
        url = wanted.pop()
        answer = site.stranger.get(url, follow_redirects=True)
        assert answer.status_code == httpx.codes.OK, url
        assert str(answer.url).startswith(site.url)
        seen[url] = answer.headers["content-type"].partition(";")[0]
        if seen[url] == "text/html":
            found = re.findall(r'<(?:link|script)[^>]* (?:href|src)="([^"]+)"', answer.text)
        elif seen[url] == "text/javascript":
            found = re.findall(r'\b(?:from|import\(?) ?"(\.[^"]+)"', answer.text)
        else:
            found = []
        wanted |= {urljoin(str(answer.url), each) for each in found} - set(seen)
    assert {"text/html", "text/css", "image/svg+xml"} <= set(seen.values())
    if not page:
        assert list(seen.values()).count("text/javascript") > 30
        assert site.stranger.get("/dashboard-config.json").json()["client_id"] == "baton-spa"


def test_an_answer_has_each_security_header_once(site: Site) -> None:
    for path in "/", "/docs", "/builds", "/nothing-is-here":
        headers = site.http.get(path).headers
        for name in fixed_headers(https=True):
            assert len(headers.get_list(name)) == 1, f"{name} of {path}"


@pytest.mark.parametrize(
    "path", ["/metrics", "/metrics?x", "/%6detrics", "//metrics", "/./metrics", "/x/../metrics"]
)
def test_the_numbers_are_not_for_the_world(site: Site, path: str) -> None:
    for method in "GET", "HEAD", "POST":
        # As it is: a client would tidy the path up.
        extensions = {"target": httpx.URL(site.url).raw_path.rstrip(b"/") + path.encode()}
        answer = site.stranger.request(method, "/", extensions=extensions, follow_redirects=True)
        assert answer.status_code >= httpx.codes.BAD_REQUEST
        assert "baton_" not in answer.text


def test_links_lead_back_through_the_proxy(site: Site) -> None:
    answers = [site.http.post("/builds", json=steps("true")) for _ in range(2)]
    location = urljoin(site.url, answers[0].headers["location"])
    assert location == f"{site.url}/builds/{answers[0].json()['id']}"
    assert site.http.get(location).status_code == httpx.codes.OK
    following = site.http.get("/builds?limit=1").links["next"]["url"]
    assert len(site.http.get(urljoin(site.url, following)).json()["builds"]) == 1
    problem = site.http.get("/builds/bld_00000000000000000000000000").json()
    assert urljoin(site.url, problem["instance"]).startswith(f"{site.url}/builds/bld_0")


def test_a_log_is_heard_as_it_is_written_and_a_cancel_at_once(site: Site) -> None:
    """The build is silent and does not end by itself: what was buffered would never come, and an
    order that waited for the next heartbeat would come too late."""
    build_id = site.submit("echo one; sleep 1; echo two; sleep 300")
    with site.http.stream("GET", f"/builds/{build_id}/log?follow=1") as answer:
        lines = answer.iter_lines()
        assert "one" in lines
        assert "two" in lines
        assert site.http.post(f"/builds/{build_id}/cancel").is_success
        assert "cancelled" in "".join(lines)
    assert site.ended(build_id, seconds=10)["status"] == "cancelled"


def test_events_come_as_they_happen(site: Site) -> None:
    """The build does not end by itself. Of changes that follow at once, only the last is told."""
    submitted: list[str] = []

    def submit() -> None:
        submitted.append(site.submit("sleep 300"))

    statuses = []
    with closing(events(site.http, "/builds/events", opened=submit)) as stream:
        for event in stream:
            if event.data["id"] in submitted and event.data["status"] not in statuses:
                statuses.append(event.data["status"])
                if statuses[-1] == "running":
                    assert site.http.post(f"/builds/{submitted[0]}/cancel").is_success
            if statuses[-1:] == ["cancelled"]:
                break
    assert statuses[-2:] == ["running", "cancelled"]


def test_who_leaves_a_stream_has_left_it_at_the_api(site: Site) -> None:
    build_id = site.submit("sleep 300")
    for path in f"/builds/{build_id}/log?follow=1", f"/builds/{build_id}/events":
        with site.http.stream("GET", path):
            wait_until("the stream is open", lambda: site.streams_open() == 1)
        wait_until("the stream has ended", lambda: site.streams_open() == 0, seconds=10)
    site.http.post(f"/builds/{build_id}/cancel")
    site.ended(build_id)


def test_what_is_large_passes_and_what_is_too_large_is_refused_by_baton(site: Site) -> None:
    build_id = site.submit("head -c 3000000 /dev/zero | tr '\\0' x")
    assert site.ended(build_id)["status"] == "succeeded"
    assert site.http.get(f"/builds/{build_id}/log").text.count("x") == 3_000_000
    largest = steps(*["# " + "x" * 64_000] * 15)
    assert site.http.post("/builds", json=largest).status_code == httpx.codes.ACCEPTED
    answer = site.http.post("/builds", json=steps(*["# " + "x" * 64_000] * 20))
    assert answer.status_code == httpx.codes.REQUEST_ENTITY_TOO_LARGE
    assert answer.json()["type"] == "urn:baton:problem:too-large"


def test_a_request_counts_for_the_address_that_it_comes_from(site: Site) -> None:
    transport = httpx.HTTPTransport(verify=site.context, local_address="127.0.0.77")
    invented = {"X-Forwarded-For": "203.0.113.9, 127.0.0.1"}
    with httpx.Client(transport=transport, base_url=site.url, headers=invented) as client:
        assert client.get("/builds").status_code == httpx.codes.UNAUTHORIZED
    with redis.Redis.from_url(site.stack.redis.url, decode_responses=True) as store:
        counted = " ".join(store.keys("*address*"))
    assert "127.0.0.77" in counted
    assert "203.0.113.9" not in counted


def test_a_terminal_signs_in_submits_and_follows(site: Site) -> None:
    token = {"BATON_TOKEN": site.stack.token(), "BATON_AUDIENCE": AUDIENCE}
    env = environment(BATON_API_URL=site.url, **token, **site.trust)
    result = run(env, "submit", "--run", "echo from a terminal", "--follow")
    assert result.returncode == 0, result.stderr
    assert b"from a terminal\n" in result.stdout
