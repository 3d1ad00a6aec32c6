"""Which messages a worker takes: those that name a build's task, and nothing strange beside it."""

from typing import Any

import pytest
from hypothesis import given, strategies as st

from app.contract.queue import RUN_BUILD, TOKEN_HEADER
from worker.consumer import refusal

GOOD: dict[str, Any] = {
    "task": RUN_BUILD,
    "id": "0b1c4f",
    "eta": None,
    "expires": "2026-11-23T19:00:00+00:00",
    "timelimit": [4000, None],
    "retries": 0,
    TOKEN_HEADER: "a.secret.token",
}
JSON = "application/json"


@pytest.mark.parametrize(
    "change",
    [{}, {"timelimit": None}, {"timelimit": [None, None]}, {"timelimit": [1.5, 1]}, {"new": "x"}],
)
def test_a_builds_message_is_taken(change: dict[str, Any]) -> None:
    assert refusal(GOOD | change, JSON) is None


@pytest.mark.parametrize(
    "change",
    [
        {"task": None},
        {"task": "celery.backend_cleanup"},
        {"task": ["a list"]},
        {"id": None},
        {"id": 7},
        {"eta": "2999-01-01T00:00:00Z"},
        {"timelimit": 7},
        {"timelimit": "ab"},
        {"timelimit": [1]},
        {"timelimit": [1, 2, 3]},
        {"timelimit": [True, None]},
        {"timelimit": [0, None]},
        {"timelimit": [-1, None]},
        {"timelimit": {"a": 1, "b": 2}},
    ],
)
def test_any_other_is_refused(change: dict[str, Any]) -> None:
    assert refusal(GOOD | change, JSON)


@pytest.mark.parametrize("name", ["task", "id"])
def test_one_that_lacks_something_is_refused(name: str) -> None:
    assert refusal({key: value for key, value in GOOD.items() if key != name}, JSON)


@pytest.mark.parametrize("content_type", ["application/x-python-serialize", "text/plain", "", None])
def test_one_that_is_not_json_is_refused(content_type: str | None) -> None:
    assert refusal(GOOD, content_type)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=6,
)


@given(
    headers=st.dictionaries(st.sampled_from([*GOOD]), json_values).map(lambda some: GOOD | some)
    | json_values,
    content_type=st.sampled_from([JSON, None]) | json_values,
)
def test_no_message_raises_and_no_refusal_repeats_it(headers: Any, content_type: Any) -> None:
    said = refusal(headers, content_type)
    assert said is None or "secret" not in said
