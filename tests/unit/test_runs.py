"""What a worker may say: bounded, and in one spelling."""

from typing import Any

import pytest
from pydantic import ValidationError

from app.contract.runs import ClaimRequest, Progress, Result, StepReport

RESULT: dict[str, Any] = {"status": "succeeded", "log_length": 0, "log_sha256": "0" * 64}


@pytest.mark.parametrize(
    "step",
    [
        {"name": "x" * 101},
        {"name": ""},
        {"name": "a\x1b[2J"},
        {"name": "a", "exit_code": True},
        {"name": "a", "exit_code": "1"},
        {"name": "a", "exit_code": 2**40},
        {"name": "a", "log_offset": -1},
        {"name": "a", "started_at": "2026-11-23T12:00:00"},  # in which time zone?
        {"name": "a", "started_at": "0001-01-01T00:00:00+14:00"},
    ],
)
def test_a_step_that_makes_no_sense_is_refused(step: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        StepReport.model_validate(step)


def test_there_are_no_more_steps_than_a_spec_can_have() -> None:
    steps = [{"name": str(n)} for n in range(101)]
    for model, body in ((Progress, {"steps": steps}), (Result, {**RESULT, "steps": steps})):
        with pytest.raises(ValidationError):
            model.model_validate(body)


@pytest.mark.parametrize("length", [True, "5", -1, 1.5])
def test_a_logs_length_is_a_number_of_bytes(length: object) -> None:
    with pytest.raises(ValidationError):
        Result.model_validate({**RESULT, "log_length": length})


def test_times_are_in_utc() -> None:
    step = StepReport.model_validate({"name": "a", "started_at": "2026-11-23T14:00:00+02:00"})
    assert '"2026-11-23T12:00:00Z"' in step.model_dump_json()


def test_a_workers_name_is_one_line() -> None:
    with pytest.raises(ValidationError):
        ClaimRequest.model_validate({"nonce": "n" * 16, "worker": "host\nroot"})
