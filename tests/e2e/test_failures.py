"""Builds that do not go well: each ends once, says why, and keeps its log."""

from pathlib import Path

import pytest

from tests.e2e.user import User, steps
from tests.support.repository import Repository


def test_a_failing_step_fails_the_build_and_skips_the_rest(ann: User) -> None:
    build = ann.run(steps("echo before; exit 3", "echo never"))
    assert (build["status"], build["reason"]) == ("failed", "step_failed")
    assert [(s["status"], s["exit_code"]) for s in build["steps"]] == [
        ("failed", 3),
        ("skipped", None),
    ]
    log = ann.log(build["id"])
    assert "before" in log
    assert "never" not in log


def test_a_step_that_takes_too_long_is_ended(ann: User) -> None:
    spec = steps("echo begun; sleep 100")
    spec["steps"][0]["timeout"] = 1
    build = ann.run(spec)
    assert (build["status"], build["reason"]) == ("timed_out", "step_timed_out")
    assert "begun" in ann.log(build["id"])


def test_a_build_that_takes_too_long_is_ended(ann: User) -> None:
    build = ann.run(steps("true", "sleep 100", timeout=2))
    assert (build["status"], build["reason"]) == ("timed_out", "build_timed_out")
    assert [s["status"] for s in build["steps"]] == ["succeeded", "timed_out"]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ({"git": "file:///nothing/here.git"}, "here.git"),
        ({"git": "http://127.0.0.1:1/x.git"}, "fatal"),
        ({"git": "git://127.0.0.1/x.git"}, "BATON_GIT_PROTOCOLS"),
    ],
)
def test_a_repository_that_cannot_be_had_is_an_error_that_says_why(
    ann: User, source: dict[str, str], said: str
) -> None:
    build = ann.run(steps("true") | {"source": source})
    assert (build["status"], build["reason"]) == ("errored", "checkout_failed")
    assert said in build["message"] + ann.log(build["id"])


def test_a_ref_that_does_not_exist_is_named(ann: User, tmp_path: Path) -> None:
    repository = Repository(tmp_path / "site")
    repository.commit(x="x")
    build = ann.run(steps("true") | {"source": {"git": repository.url, "ref": "no-such-branch"}})
    assert (build["status"], build["reason"]) == ("errored", "checkout_failed")
    assert "no-such-branch" in build["message"]


def test_a_step_that_leaves_daemons_and_closes_its_output_ends(ann: User) -> None:
    build = ann.run(
        steps("(setsid sleep 1000 &) ; exec >&- 2>&-; sleep 1000 & sleep 0.5", "echo after")
    )
    assert build["status"] == "succeeded"
    assert "after" in ann.log(build["id"])


def test_a_flood_without_a_newline_is_cut_off_and_the_build_goes_on(ann: User) -> None:
    build = ann.run(
        steps("head -c 100000000 /dev/zero | tr '\\0' x", "echo still building > /dev/null"),
        seconds=120,
    )
    assert build["status"] == "succeeded"
    assert build["log"]["length"] <= 16 * 1024 * 1024
    assert "truncated" in ann.log(build["id"])[-1000:]


def test_bytes_that_are_not_utf8_are_kept_as_they_are(ann: User) -> None:
    build = ann.run(steps("printf '\\377\\376\\000\\200end'"))
    assert b"\xff\xfe\x00\x80end" in ann.http.get(f"/builds/{build['id']}/log").content


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/steps"),
        ({"steps": []}, "/steps"),
        ({"steps": [{"name": "a", "run": "b", "rum": "c"}]}, "/steps/0/rum"),
        ({"steps": [{"name": "a", "run": "b"}], "timeout": 10**6}, "/timeout"),
        ({"steps": [{"name": "a", "run": "b", "env": {"BATON_X": "1"}}]}, "/steps/0/env"),
        ({"steps": [{"name": "a", "run": "b"}], "source": {"git": "--exec=x"}}, "/source/git"),
        ({"steps": [{"name": "a", "run": "b"}], "source": {"git": "https://x/y", "ref": "-x"}},
         "/source/ref"),
    ],
)  # fmt: skip
def test_a_spec_that_is_wrong_is_refused_with_a_pointer_to_the_fault(
    ann: User, body: dict[str, object], pointer: str
) -> None:
    answer = ann.http.post("/builds", json=body)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert pointer in [error["pointer"] for error in answer.json()["errors"]]
