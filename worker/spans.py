"""What the spans of an attempt say: how it and its steps ended, in the words of the contract."""

import re
from typing import Final

from app.contract.spec import Step
from app.contract.status import Reason, Status, StepStatus
from app.observability import tracing
from app.observability.redaction import without_secrets

_WORD: Final = re.compile(r"[\w.-]{1,64}")
#: What stands behind a name that was made of a script's first line, and is not in the script.
_MADE: Final = re.compile(r"…?(?: \(\d+\))?\Z")


def step_title(number: int, step: Step) -> str:
    """The name of a step's span: its own, unless that is the beginning of its script.

    So the terminal names steps that have no name, and a script may hold anything.
    """
    script = "".join(c if c.isprintable() else " " for c in step.run.strip())
    made = not _WORD.fullmatch(step.name) and script.startswith(_MADE.sub("", step.name))
    return f"step {number if made else without_secrets(step.name)}"


def describe_step(status: StepStatus, exit_code: int | None) -> None:
    """On the span around here."""
    span = tracing.current()
    span.set_attribute("baton.step.status", status)
    if exit_code is not None:
        span.set_attribute("baton.step.exit_code", exit_code)


def describe_end(status: Status, reason: Reason | None) -> None:
    """On the span around here. That somebody cancelled a build is no error."""
    span = tracing.current()
    span.set_attribute(tracing.STATUS, status)
    if reason:
        span.set_attribute(tracing.REASON, reason)
    if status not in {Status.SUCCEEDED, Status.CANCELLED}:
        tracing.failed(span, reason or status)
