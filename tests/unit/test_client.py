"""The client over a transport that fails on purpose."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from app.client import ApiError, BatonClient, SignedOut, Unreachable
from app.contract.problems import MEDIA_TYPE
from app.contract.spec import BuildSpec, Step

BUILD_ID = "bld_01ARZ3NDEKTSV4RRFFQ69G5FAV"
LOG = b"one\ntwo\nthree\n"

Answer = Callable[[httpx.Request], httpx.Response]


def build(status: str = "succeeded") -> dict[str, Any]:
    return {
        "id": BUILD_ID,
        "owner": "auth0|ann",
        "status": status,
        "spec": {"steps": [{"name": "a", "run": "true"}]},
        "attempt": 1,
        "created_at": "2026-01-01T00:00:00Z",
        "log": {"length": len(LOG)},
    }


def problem(status: int, **headers: str) -> httpx.Response:
    body = {"type": "urn:baton:problem:x", "title": "x", "status": status, "detail": "because"}
    return httpx.Response(
        status, content=json.dumps(body), headers={"content-type": MEDIA_TYPE, **headers}
    )


class Script:
    """Answers requests in order; an exception is raised instead of an answer."""

    def __init__(self, *answers: Answer | httpx.Response | Exception) -> None:
        self._answers = iter(answers)
        self.requests: list[httpx.Request] = []
        self.waits: list[float] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        as_it_is = (request.method, request.url)  # it is changed when it is sent again
        self.requests.append(
            httpx.Request(*as_it_is, headers=request.headers, content=request.content)
        )
        answer = next(self._answers)
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, httpx.Response) else answer(request)

    def client(self) -> BatonClient:
        http = httpx.Client(transport=httpx.MockTransport(self))
        return BatonClient("http://api/", "the-token", http=http, sleep=self.waits.append)


class Broken(httpx.SyncByteStream):
    """A body whose connection breaks, or falls silent, after its last piece."""

    def __init__(self, *pieces: bytes, error: Exception) -> None:
        self._pieces = pieces
        self._error = error

    def __iter__(self) -> Iterator[bytes]:
        yield from self._pieces
        raise self._error


SPEC = BuildSpec(steps=[Step(name="a", run="true")])
LOST = httpx.ReadError("connection reset")


def test_a_submission_whose_answer_was_lost_is_sent_again_with_the_same_key() -> None:
    script = Script(LOST, httpx.ConnectError("refused"), httpx.Response(202, json=build("queued")))

    assert script.client().submit(SPEC).id == BUILD_ID

    keys = [request.headers["idempotency-key"] for request in script.requests]
    assert len(keys) == 3
    assert len(set(keys)) == 1
    assert script.requests[0].headers["authorization"] == "Bearer the-token"
    assert script.requests[0].content == script.requests[2].content


def test_a_key_that_was_given_is_used() -> None:
    script = Script(httpx.Response(202, json=build("queued")))

    script.client().submit(SPEC, idempotency_key="mine")

    assert script.requests[0].headers["idempotency-key"] == "mine"


def test_a_busy_api_is_asked_again_when_it_says() -> None:
    script = Script(problem(503, **{"Retry-After": "7"}), httpx.Response(200, json=build()))

    script.client().show(BUILD_ID)

    assert script.waits == [7]


def test_an_api_that_stays_away_is_unreachable() -> None:
    script = Script(*[httpx.ConnectError("refused")] * 20)

    with pytest.raises(Unreachable, match="http://api: refused"):
        script.client().show(BUILD_ID)

    assert 0 < len(script.waits) < 20


def test_a_refusal_is_not_repeated_and_carries_the_problem() -> None:
    script = Script(problem(422))

    with pytest.raises(ApiError) as caught:
        script.client().submit(SPEC)

    assert caught.value.problem.status == 422
    assert len(script.requests) == 1


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, html="<p>Welcome to the hotel's Wi-Fi"),
        httpx.Response(403, html="<p>Blocked"),
        httpx.Response(302, headers={"location": "https://elsewhere.example.com/"}),
        httpx.Response(200, json={"id": "x"}),
    ],
)
def test_what_is_not_our_api_is_said_to_be_so(answer: httpx.Response) -> None:
    with pytest.raises(Unreachable, match="Baton API"):
        Script(answer).client().show(BUILD_ID)


def test_an_id_cannot_lead_to_another_path() -> None:
    script = Script(problem(404))

    with pytest.raises(ApiError):
        script.client().show("../healthz?x#")

    assert script.requests[0].url.raw_path == b"/builds/..%2Fhealthz%3Fx%23"


def test_a_followed_log_goes_on_at_the_byte_reached() -> None:
    script = Script(
        httpx.Response(200, stream=Broken(LOG[:2], LOG[2:5], error=LOST)),
        httpx.ConnectError("refused"),
        problem(503),
        httpx.Response(206, content=LOG[5:]),
        httpx.Response(200, json=build()),
    )

    assert b"".join(script.client().log(BUILD_ID, follow=True)) == LOG

    assert [request.headers.get("range") for request in script.requests[:4]] == [
        None, "bytes=5-", "bytes=5-", "bytes=5-",
    ]  # fmt: skip


def test_a_whole_log_in_place_of_a_range_brings_nothing_twice() -> None:
    script = Script(
        httpx.Response(200, stream=Broken(LOG[:5], error=LOST)),
        httpx.Response(200, content=LOG),
        httpx.Response(200, json=build()),
    )

    assert b"".join(script.client().log(BUILD_ID, follow=True)) == LOG


def test_a_stream_that_ends_before_the_build_is_opened_again() -> None:
    script = Script(
        httpx.Response(200, content=LOG[:5]),
        httpx.Response(200, json=build("running")),
        httpx.Response(206, stream=Broken(error=httpx.ReadTimeout("quiet"))),
        httpx.Response(200, json=build("running")),
        httpx.Response(206, content=LOG[5:]),
        httpx.Response(200, json=build()),
    )

    assert b"".join(script.client().log(BUILD_ID, follow=True)) == LOG


def test_following_ends_with_the_token() -> None:
    script = Script(httpx.Response(200, content=LOG[:5]), problem(401))

    pieces = script.client().log(BUILD_ID, follow=True)

    assert next(pieces) == LOG[:5]
    with pytest.raises(ApiError, match="because"):
        next(pieces)


def test_a_log_that_is_not_followed_ends_where_it_ends() -> None:
    script = Script(httpx.Response(200, content=LOG), problem(416))
    client = script.client()

    assert b"".join(client.log(BUILD_ID)) == LOG
    assert b"".join(client.log(BUILD_ID, start=len(LOG))) == b""


def test_a_broken_read_of_a_log_is_an_error() -> None:
    script = Script(httpx.Response(200, stream=Broken(LOG[:5], error=LOST)))

    with pytest.raises(Unreachable):
        b"".join(script.client().log(BUILD_ID))


# ── tokens that end ───────────────────────────────────────────────────────────────────────────


class Tokens:
    """A source whose tokens come from a list; an exception in it is raised."""

    def __init__(self, *tokens: str | Exception) -> None:
        self._tokens = list(tokens)

    def current(self) -> str:
        token = self._tokens[0]
        if isinstance(token, Exception):
            self._tokens.pop(0)
            raise token
        return token

    def other_than(self, refused: str) -> str | None:
        assert self._tokens.pop(0) == refused
        return self.current() if self._tokens else None

    def client(self, script: Script) -> BatonClient:
        http = httpx.Client(transport=httpx.MockTransport(script))
        return BatonClient("http://api/", self, http=http, sleep=script.waits.append)


def sent(script: Script) -> list[str]:
    return [request.headers["authorization"] for request in script.requests]


def test_a_call_whose_token_is_refused_is_sent_once_more_with_another() -> None:
    script = Script(problem(401), httpx.Response(202, json=build("queued")))

    Tokens("old", "new").client(script).submit(SPEC)

    assert sent(script) == ["Bearer old", "Bearer new"]
    assert script.requests[0].content == script.requests[1].content
    assert len({request.headers["idempotency-key"] for request in script.requests}) == 1


def test_two_refusals_are_one_error_and_so_is_one_where_there_is_no_other_token() -> None:
    twice, once = Script(problem(401), problem(401)), Script(problem(401))

    for script, tokens in ((twice, Tokens("old", "new")), (once, Tokens("old"))):
        with pytest.raises(ApiError) as caught:
            tokens.client(script).show(BUILD_ID)
        assert caught.value.problem.status == 401


def test_a_follower_goes_on_with_the_next_token_from_the_byte_reached() -> None:
    script = Script(
        httpx.Response(200, content=LOG[:4]),
        httpx.Response(200, json=build("running")),
        problem(401),
        httpx.Response(206, content=LOG[4:]),
        httpx.Response(200, json=build()),
    )

    log = b"".join(Tokens("old", "new").client(script).log(BUILD_ID, follow=True))

    assert log == LOG
    assert sent(script)[2:] == ["Bearer old", "Bearer new", "Bearer new"]
    assert script.requests[3].headers["range"] == "bytes=4-"


def test_an_issuer_that_is_away_is_waited_for_and_a_sign_in_that_has_ended_is_not() -> None:
    script = Script(httpx.Response(200, json=build()))
    Tokens(Unreachable("the issuer is away"), "good").client(script).show(BUILD_ID)
    assert len(script.waits) == 1

    ended = Tokens(SignedOut("sign in again"))
    with pytest.raises(SignedOut, match="sign in again"):
        list(ended.client(Script()).log(BUILD_ID, follow=True))
