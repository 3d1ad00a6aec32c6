"""What an answer says: a verdict only in the API's own words, everything else is noise."""

import json
from typing import Any

import httpx
import pytest
from hypothesis import given, settings, strategies as st

from app.contract.problems import MEDIA_TYPE, TYPE_PREFIX, Code, Problem
from app.contract.runs import Appended, Claim, Directive
from worker.api_client import InvalidToken, LogIsFull, SendFrom, TransientError, verdict
from worker.errors import LeaseLost, RunError

JSON = "application/json"

#: Codes that end a run, whatever the status that they come with.
FINAL_WORDS = set(Code) - {
    Code.INVALID_TOKEN,
    Code.INVALID_PROOF,
    Code.TOO_SLOW,
    Code.TOO_MANY,
    Code.INTERNAL,
    Code.UNAVAILABLE,
    Code.LOG_GAP,
    Code.LOG_INCOMPLETE,
    Code.LOG_FULL,
}


def answer(status: int, media_type: str | None, **headers: str) -> httpx.Response:
    if media_type is not None:
        headers["Content-Type"] = media_type
    return httpx.Response(status, headers=headers)


def problem(code: str, status: int, **more: Any) -> bytes:
    return json.dumps(
        {"type": TYPE_PREFIX + code, "title": "t", "status": status, "detail": "d", **more}
    ).encode()


def said(status: int, media_type: str | None, body: bytes, **headers: str) -> Appended:
    return verdict(answer(status, media_type, **headers), body, Appended)


def test_an_answer_of_the_contracts_shape_is_the_answer() -> None:
    found = said(202, "Application/JSON; charset=utf-8", b'{"end": 7, "lease_seconds": 5, "x": 1}')
    assert (found.end, found.lease_seconds, found.cancel) == (7, 5, False)


@pytest.mark.parametrize(
    ("status", "media_type", "body"),
    [
        (200, "text/html", b"<h1>Welcome to the portal</h1>"),
        (200, None, b'{"end": 7, "lease_seconds": 5}'),
        (200, JSON, b'{"status": "ok"}'),
        (200, JSON, b""),
        (200, JSON, b"\xff"),
        (200, JSON, b"[" * 100_000),
        (204, None, b""),
        (200, MEDIA_TYPE, problem(Code.LEASE_LOST, 200)),
        (301, JSON, b'{"end": 7, "lease_seconds": 5}'),
        (302, MEDIA_TYPE, problem(Code.LEASE_LOST, 302)),
        (304, JSON, b""),
        (401, "text/html", b"log in first"),
        (403, JSON, problem(Code.WRONG_BUILD, 403)),
        (404, MEDIA_TYPE, b'{"type": "about:blank", "title": "t", "status": 404, "detail": "d"}'),
        (404, MEDIA_TYPE, b'{"type": "not-found", "title": "t", "status": 404, "detail": "d"}'),
        (404, MEDIA_TYPE, problem(Code.NOT_FOUND, 404).replace(b"urn:baton:", b"urn:other:")),
        (404, MEDIA_TYPE, problem("brand-new", 404)),
        (404, MEDIA_TYPE, problem(Code.NOT_FOUND, 410)),
        (404, MEDIA_TYPE, problem(Code.NOT_FOUND, 404)[:-2]),
        (404, MEDIA_TYPE, b"null"),
        (429, MEDIA_TYPE, problem(Code.TOO_MANY, 429)),
        (500, MEDIA_TYPE, problem(Code.INTERNAL, 500)),
        (502, "text/html", b"<h1>Bad Gateway</h1>"),
        (503, MEDIA_TYPE, problem(Code.UNAVAILABLE, 503)),
        (599, None, b""),
    ],
)  # fmt: skip
def test_what_the_api_did_not_say_is_noise(
    status: int, media_type: str | None, body: bytes
) -> None:
    with pytest.raises(TransientError):
        said(status, media_type, body)


@pytest.mark.parametrize("code", sorted(FINAL_WORDS))
def test_the_apis_own_refusal_ends_the_run(code: Code) -> None:
    with pytest.raises(LeaseLost, match=code) as caught:
        said(409, MEDIA_TYPE, problem(code, 409))
    assert not isinstance(caught.value, InvalidToken)


@pytest.mark.parametrize("code", [Code.INVALID_TOKEN, Code.INVALID_PROOF])
def test_a_token_that_is_not_taken_is_told_apart(code: Code) -> None:
    with pytest.raises(InvalidToken):
        said(401, MEDIA_TYPE, problem(code, 401))


@pytest.mark.parametrize(
    ("code", "status"), [(Code.LOG_GAP, 416), (Code.LOG_INCOMPLETE, 412), (Code.LOG_FULL, 413)]
)
def test_where_the_log_ends_is_passed_on(code: Code, status: int) -> None:
    with pytest.raises((SendFrom, LogIsFull)) as caught:
        said(status, MEDIA_TYPE, problem(code, status, end=42))
    assert isinstance(caught.value, LogIsFull if code is Code.LOG_FULL else SendFrom)
    assert caught.value.end == 42


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7),
        ("0", 0),
        ("999999", 60),
        ("9999999999", 0),
        ("-3", 0),
        ("1.5", 0),
        ("soon", 0),
        ("Wed, 21 Oct 2026 07:28:00 GMT", 0),
        ("", 0),
    ],
)
def test_a_retry_after_in_seconds_is_honoured_within_a_minute(value: str, seconds: float) -> None:
    with pytest.raises(TransientError) as caught:
        said(503, "text/html", b"", **{"Retry-After": value})
    assert caught.value.retry_after == seconds


#: Bodies that come close to ours.
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3)
    ),
    max_leaves=8,
)
near_problems = st.fixed_dictionaries(
    {
        "type": st.sampled_from([*(TYPE_PREFIX + code for code in Code), *Code, "about:blank"])
        | json_values,
        "title": st.just("t") | json_values,
        "status": st.integers(100, 599) | json_values,
        "detail": st.just("d") | json_values,
    },
    optional={"end": st.integers() | json_values, "errors": json_values, "code": json_values},
)
near_answers = st.fixed_dictionaries(
    {"lease_seconds": st.floats() | json_values},
    optional={"end": st.integers() | json_values, "cancel": json_values},
)
bodies = (
    st.binary(max_size=200)
    | json_values.map(lambda value: json.dumps(value).encode())
    | near_problems.map(lambda value: json.dumps(value).encode())
    | near_answers.map(lambda value: json.dumps(value).encode())
)
media_types = st.sampled_from(
    [JSON, MEDIA_TYPE, f"{MEDIA_TYPE}; charset=utf-8", "text/html", "", ";", None]
)
statuses = st.integers(100, 599)


@given(
    status=statuses,
    media_type=media_types,
    body=bodies,
    retry_after=st.text(st.characters(max_codepoint=255), max_size=10),
    model=st.sampled_from([Claim, Directive, Appended]),
)
@settings(max_examples=400)
def test_any_answer_is_an_answer_of_ours_or_one_of_four_errors(
    status: int,
    media_type: str | None,
    body: bytes,
    retry_after: str,
    model: type[Claim] | type[Directive] | type[Appended],
) -> None:
    response = httpx.Response(
        status,
        headers=[
            (b"retry-after", retry_after.encode("latin-1")),
            *([(b"content-type", media_type.encode())] if media_type is not None else []),
        ],
    )
    error: RunError | None = None
    try:
        found = verdict(response, body, model)
    except RunError as caught:
        error = caught
    if error is None:
        assert isinstance(found, model)
        assert 200 <= status < 300
        assert media_type == JSON
    elif isinstance(error, TransientError):
        assert 0 <= error.retry_after <= 60
    else:
        assert isinstance(error, LeaseLost | SendFrom | LogIsFull)
        assert status >= 400
        assert media_type is not None and media_type.startswith(MEDIA_TYPE)
        words = Problem.model_validate_json(body)
        assert words.type.startswith(TYPE_PREFIX)
        assert words.status == status
