"""`describe_step` and `describe_end` put on spans how a step and an attempt ended."""

import re
from typing import Final

from app.contract.spec import Step
from app.contract.status import Reason, Status, StepStatus
from app.observability import tracing
from app.observability.redaction import without_secrets

_WORD: Final = re.compile(r"[\w.-]{1,64}")
#: The suffix of a name that the terminal made of a script's first line; it is not in the script.
_GENERATED_SUFFIX: Final = re.compile(r"…?(?: \(\d+\))?\Z")


def step_title(number: int, step: Step) -> str:
    """Return the name of a step's span: the step's name, or its number for a generated name.

    The terminal names a step by its script's first line where the user gives no name, and a script
    may hold secrets.
    """
    script = "".join(c if c.isprintable() else " " for c in step.run.strip())
    generated = not _WORD.fullmatch(step.name) and script.startswith(
        _GENERATED_SUFFIX.sub("", step.name)
    )
    return f"step {number if generated else without_secrets(step.name)}"


def describe_step(status: StepStatus, exit_code: int | None) -> None:
    """Put a step's status and exit code on the current span."""
    span = tracing.current()
    span.set_attribute("baton.step.status", status)
    if exit_code is not None:
        span.set_attribute("baton.step.exit_code", exit_code)


def describe_end(status: Status, reason: Reason | None) -> None:
    """Put a build's status and reason on the current span; cancelled is no error."""
    span = tracing.current()
    span.set_attribute(tracing.STATUS, status)
    if reason:
        span.set_attribute(tracing.REASON, reason)
    if status not in {Status.SUCCEEDED, Status.CANCELLED}:
        tracing.failed(span, reason or status)
