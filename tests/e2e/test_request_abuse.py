"""Requests that no client should send: a refusal that says what to do, and nothing changed."""

import json
import re
import select
import socket
from typing import Final
from urllib.parse import urlsplit

import httpx
import pytest

from tests.bad_requests import Bad
from tests.bad_requests.bodies import KEYS, MEDIA_TYPES, NO_JSON, SIZES, WRONG_SPECS
from tests.bad_requests.places import BUILDS, METHODS, PATHS, QUERIES
from tests.bad_requests.raw import ENDLESS_FRAMING, GET, NO_HTTP, SECOND, TOO_LARGE, request
from tests.bad_requests.workers import WORKERS
from tests.e2e.prey import Prey

BAD_REQUESTS: Final = {
    **METHODS,
    **PATHS,
    **BUILDS,
    **QUERIES,
    **NO_JSON,
    **WRONG_SPECS,
    **MEDIA_TYPES,
    **KEYS,
    **SIZES,
    **WORKERS,
}


def check_problem(answer: httpx.Response, status: int, code: str) -> None:
    """RFC 9457, and a sentence."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["status"], problem["type"]) == (status, f"urn:baton:problem:{code}")
    assert len(problem["detail"].split()) >= 3, problem
    assert "Traceback" not in answer.text
    assert "pydantic" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "server" not in answer.headers


@pytest.mark.parametrize("name", BAD_REQUESTS)
def test_a_bad_request_is_refused_for_what_is_wrong_with_it(prey: Prey, name: str) -> None:
    bad = BAD_REQUESTS[name]
    answer = prey.send(bad)
    check_problem(answer, *bad.expected)
    assert bad.says in answer.text
    for header, value in bad.more.items():
        assert answer.headers[header] == value
    assert "x-injected" not in answer.headers
    # A 412 or 416 is for the right worker, which has just shown that it lives.
    lives = (b":leases", b":pace")
    prey.check_nothing_changed(but=lives if bad.expected[0] in {412, 416} else ())


def test_there_are_more_than_a_hundred_of_them() -> None:
    assert len(set(map(repr, BAD_REQUESTS.values()))) > 400


#: Headers that mean nothing here, or that whoever does not understand them has to ignore.
NOTHING: Final[dict[str, str]] = {
    "Accept": "image/png;q=2, ,;",
    "Accept-Encoding": "rot13",
    "Content-Type": "rub/bish; charset=\u00ff",
    "Cookie": "a=b; a=c; =; \u00ff",
    "Expect": "200-ok",
    "Forwarded": "for=_evil;host=evil.example.com;proto=gopher",
    "From": "evil",
    "If-Match": '"x"',
    "If-Modified-Since": "yesterday",
    "If-None-Match": "*",
    "If-Unmodified-Since": "Thu, 01 Jan 1970 00:00:00 GMT",
    "Max-Forwards": "-1",
    "Origin": "null",
    "Range": "bytes=1-0",
    "TE": "trailers, rubbish",
    "Upgrade": "h2c",
    "Via": "x" * 5000,
    "X-Forwarded-Host": "evil.example.com",
    "X-Forwarded-Prefix": "/../",
    "X-HTTP-Method-Override": "DELETE",
    "X-Original-URL": "/healthz",
    "X-Rewrite-URL": "/healthz",
}


@pytest.mark.parametrize("name", NOTHING)
def test_a_header_that_means_nothing_changes_no_answer(prey: Prey, name: str) -> None:
    path = "/builds/{build}"
    good = prey.send(Bad(path=path))
    odd = prey.send(Bad(path=path, headers=((name, NOTHING[name].encode("latin-1")),)))
    assert (odd.status_code, odd.text) == (200, good.text)
    assert "evil" not in str(odd.headers)


@pytest.mark.parametrize(
    "asked",
    [
        *("", "bytes", "bytes=", "bytes=-", "bytes=--1", "bytes=a-b", "bytes=1-0", "bytes 0-1"),
        *("lines=0-1", "bytes=0-1,3-4", "bytes=0x0-0x1", "bytes=\u0660-\u0661", "bytes= 0-1"),
        *("bytes=" + "9" * 30 + "-", "bytes=-" + "9" * 30, "bytes=0-" + "9" * 30, "," * 5000),
        *("bytes=5-", "bytes=0-0", "bytes=-0", "bytes=-1"),
    ],
)
def test_a_range_is_taken_ignored_or_not_satisfiable(prey: Prey, asked: str) -> None:
    log = prey.send(Bad(path="/builds/{build}/log", headers=(("Range", asked.encode()),)))
    assert log.status_code in {200, 206, 416}, log.text
    if log.status_code == 416:
        check_problem(log, 416, "range-not-satisfiable")
        assert log.headers["content-range"] == "bytes */0"
    prey.check_nothing_changed()


# ── on the wire ───────────────────────────────────────────────────────────────────────────────


def exchange(prey: Prey, sent: bytes, *, to_the_end: bool = True) -> bytes:
    """What comes back until the server closes the connection, or until its first answer."""
    url = urlsplit(prey.scene.stack.api_url)
    heard = b""
    with socket.create_connection((url.hostname, url.port), timeout=30) as connection:
        try:
            connection.sendall(sent)
            while piece := connection.recv(65536):
                heard += piece
                if not to_the_end and b"}" in heard:
                    break
        except (ConnectionResetError, BrokenPipeError):
            pass  # closed by the server before it had read all
    return heard


def check_refused(heard: bytes, status: int, code: str) -> None:
    """One answer, in the same form as the application's."""
    assert re.findall(rb"HTTP/1\.1 (\d+)", heard) == [str(status).encode()], heard[:2000]
    head, _, body = heard.partition(b"\r\n\r\n")
    lines = head.decode("ascii").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    assert headers["content-type"] == "application/problem+json"
    assert headers["connection"] == "close"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert headers["cache-control"] == "no-store"
    assert "server" not in headers
    problem = json.loads(body)
    assert (problem["status"], problem["type"]) == (status, f"urn:baton:problem:{code}")


@pytest.mark.parametrize("name", NO_HTTP)
def test_what_can_be_read_in_two_ways_is_not_read(prey: Prey, name: str) -> None:
    check_refused(exchange(prey, NO_HTTP[name]), 400, "bad-request")
    prey.check_nothing_changed()


@pytest.mark.parametrize("name", TOO_LARGE)
def test_what_comes_before_a_body_is_bounded(prey: Prey, name: str) -> None:
    check_refused(exchange(prey, TOO_LARGE[name]), 431, "too-large")
    prey.check_nothing_changed()


@pytest.mark.parametrize("name", ENDLESS_FRAMING)
def test_what_frames_a_body_is_bounded(prey: Prey, name: str) -> None:
    heard = exchange(prey, ENDLESS_FRAMING[name])
    assert re.findall(rb"HTTP/1\.1 (\d+)", heard) in ([b"401"], [b"431"]), heard[:2000]
    prey.check_nothing_changed()


def test_a_body_is_never_taken_for_a_request(prey: Prey) -> None:
    token = prey.scene.user().encode()
    sent = request(
        b"Authorization: Bearer " + token,
        b"Content-Type: application/json",
        b"Content-Length: %d" % len(SECOND),
        b"Connection: close",
        body=SECOND,
    )
    heard = exchange(prey, sent)
    assert re.findall(rb"HTTP/1\.1 (\d+)", heard) == [b"400"], heard
    assert b"not JSON" in heard


def test_who_sends_somewhat_too_much_is_read_to_the_end_and_hears_why(prey: Prey) -> None:
    """A connection that closes before it has read all resets whoever still sends: they do not hear
    the answer, and a proxy makes 502 of it."""
    url = urlsplit(prey.scene.stack.api_url)
    body = b" " * (3 * 1024 * 1024)
    sent = submission(prey, b"Content-Length: %d" % len(body)) + body
    with socket.create_connection((url.hostname, url.port), timeout=30) as connection:
        connection.sendall(sent[:-1])
        assert select.select([connection], [], [], 0.2)[0] == []
        for more, status in (sent[-1:], b"413"), (request(first=GET), b"200"):
            connection.sendall(more)
            heard = b""
            while not heard.endswith(b"}"):
                heard += connection.recv(65536) or b"}"
            assert re.findall(rb"HTTP/1\.1 (\d+)", heard) == [status], heard[:2000]
    prey.check_nothing_changed()


@pytest.mark.parametrize(
    "headers",
    [
        (b"Content-Length: 100000000",),
        (b"Content-Length: 2000000", b"Expect: 100-continue"),
    ],
    ids=["far too much", "after asking"],
)
def test_who_is_about_to_send_too_much_hears_so_before(prey: Prey, headers: list[bytes]) -> None:
    check_refused(exchange(prey, submission(prey, *headers)), 413, "too-large")
    prey.check_nothing_changed()


def submission(prey: Prey, *headers: bytes) -> bytes:
    """The head of one."""
    token = b"Authorization: Bearer " + prey.scene.user().encode()
    return request(token, b"Content-Type: application/json", *headers)


def test_a_body_shorter_than_announced_does_nothing(prey: Prey) -> None:
    token = prey.scene.user().encode()
    spec = b'{"steps": [{"name": "a", "run": "true"}]}'
    url = urlsplit(prey.scene.stack.api_url)
    for announced in (b"Content-Length: %d" % (len(spec) + 1), b"Transfer-Encoding: chunked"):
        chunk = b"%x\r\n%b\r\n" % (len(spec), spec)
        with socket.create_connection((url.hostname, url.port), timeout=30) as connection:
            connection.sendall(
                request(
                    b"Authorization: Bearer " + token,
                    b"Content-Type: application/json",
                    announced,
                    body=chunk if announced.startswith(b"T") else spec,
                )
            )
    # An answer to somebody else, after which the server has seen that those two are gone.
    assert exchange(prey, request(first=GET), to_the_end=False).startswith(b"HTTP/1.1 200")
    prey.check_nothing_changed()


def test_a_bad_request_after_a_good_one_is_refused_by_itself(prey: Prey) -> None:
    url = urlsplit(prey.scene.stack.api_url)
    with socket.create_connection((url.hostname, url.port), timeout=30) as connection:
        connection.sendall(request(first=GET))
        heard = b""
        while b"}" not in heard:
            heard += connection.recv(65536)
        assert heard.startswith(b"HTTP/1.1 200")
        connection.sendall(NO_HTTP["two hosts"])
        heard = b""
        while piece := connection.recv(65536):
            heard += piece
    check_refused(heard, 400, "bad-request")


def test_a_token_that_is_only_a_space_is_malformed(prey: Prey) -> None:
    sent = request(b"Authorization: Bearer ", b"Connection: close", first=b"GET /builds HTTP/1.1")
    heard = exchange(prey, sent)
    assert b" 400 " in heard.partition(b"\r\n")[0]
    assert b"invalid-request" in heard


def test_the_log_of_the_server_says_nothing_of_a_token(prey: Prey) -> None:
    said = prey.scene.stack.api.output()
    assert "Traceback" not in said
    for token in (prey.token, prey.scene.user()):
        assert token.rpartition(".")[2] not in said
