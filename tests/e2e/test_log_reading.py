"""Reading a log in parts: what RFC 9110 §14 and RFC 8673 say of ranges."""

from collections.abc import Iterator
from typing import Final

import pytest

from tests.e2e.user import User, steps
from tests.support.stack import Stack

LOG: Final = b"==> step 0\n0123456789\n"
SIZE: Final = len(LOG)


@pytest.fixture(scope="module")
def ann(shared: Stack) -> Iterator[User]:
    with User(shared, "reader") as user:
        yield user


@pytest.fixture(scope="module")
def path(ann: User) -> str:
    """The path of a log that is all there."""
    path = f"/builds/{ann.run(steps('echo 0123456789'))['id']}/log"
    assert ann.http.get(path).content == LOG
    return path


@pytest.mark.parametrize(
    ("asked", "said", "content"),
    [
        ("bytes=0-3", f"bytes 0-3/{SIZE}", LOG[:4]),
        ("Bytes=0-3", f"bytes 0-3/{SIZE}", LOG[:4]),
        ("bytes=3-", f"bytes 3-{SIZE - 1}/{SIZE}", LOG[3:]),
        ("bytes=-4", f"bytes {SIZE - 4}-{SIZE - 1}/{SIZE}", LOG[-4:]),
        ("bytes=-9999", f"bytes 0-{SIZE - 1}/{SIZE}", LOG),
        ("bytes=0-9223372036854775807", f"bytes 0-{SIZE - 1}/{SIZE}", LOG),
    ],
)
def test_a_range_is_served(ann: User, path: str, asked: str, said: str, content: bytes) -> None:
    answer = ann.http.get(path, headers={"Range": asked})
    assert (answer.status_code, answer.content) == (206, content)
    assert answer.headers["content-range"] == said


@pytest.mark.parametrize("asked", [f"bytes={SIZE}-", "bytes=999999999999999999-", "bytes=-0"])
def test_a_range_of_nothing_is_not_satisfiable(ann: User, path: str, asked: str) -> None:
    answer = ann.http.get(path, headers={"Range": asked})
    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{SIZE}"


@pytest.mark.parametrize(
    "headers",
    [
        {"Range": "bytes=5-2"},
        {"Range": "bytes=-"},
        {"Range": "bytes=0-1,3-4"},
        {"Range": "lines=0-1"},
        {"Range": "bytes=0-3", "If-Range": '"another version"'},
    ],
)
def test_a_range_that_does_not_count_is_ignored(
    ann: User, path: str, headers: dict[str, str]
) -> None:
    answer = ann.http.get(path, headers=headers)
    assert (answer.status_code, answer.content) == (200, LOG)
    assert "content-range" not in answer.headers


def test_a_range_is_for_get_alone(ann: User, path: str) -> None:
    answer = ann.http.head(path, headers={"Range": "bytes=0-3"})
    assert (answer.status_code, answer.headers["content-length"]) == (200, str(SIZE))


def test_what_is_followed_has_no_end_yet(ann: User) -> None:
    build_id = ann.submit(steps("echo 0123456789; until [ -e go ]; do sleep 0.1; done"))
    ann.wait_for_log(build_id, "9\n")
    path = f"/builds/{build_id}/log?follow=1"
    with ann.http.stream("GET", path, headers={"Range": "bytes=-4"}) as last:
        assert last.status_code == 206
        assert last.headers["content-range"] == f"bytes {SIZE - 4}-{2**63 - 1}/*"
        assert last.headers["cache-control"] == "no-store, no-transform"
        assert last.headers["x-accel-buffering"] == "no"
        assert next(last.iter_bytes()) == LOG[-4:]
    with ann.http.stream("GET", path, headers={"Range": "bytes=0-3"}) as whole:
        assert whole.status_code == 200
        assert next(whole.iter_bytes()).startswith(LOG)
    ann.cancel(build_id)


def test_followers_are_sent_away_in_good_order_when_the_api_stops(own: Stack) -> None:
    with User(own) as ann:
        build_id = ann.submit(steps("true"))  # waits: there is no worker
        with ann.http.stream("GET", f"/builds/{build_id}/log?follow=1") as answer:
            own.api.stop()
            assert answer.read() == b""  # the end of a chunked body, not a broken connection
    assert "Traceback" not in own.api.output()
