"""These errors end a run early.

RunError
├── BuildEnded          the build's own doing, or a person's: becomes its result
│   ├── StepFailed
│   ├── TimedOut
│   ├── Cancelled
│   ├── QuotaExceeded
│   └── CheckoutFailed
├── SandboxFailed       ours: the sandbox could not be started
├── ShuttingDown        the worker has to stop: the build is handed back
├── LeaseLost           the build is another worker's now, or over: stop, report nothing
└── ReportImpossible    the API gave no verdict before the deadline
"""

from collections.abc import Mapping
from typing import Final

from app.contract.status import Reason, Status


class RunError(Exception):
    """Something ended a run early."""


class BuildEnded(RunError):
    """The build came to an end that goes on its record."""


class StepFailed(BuildEnded):
    """A step exited with a status other than 0."""

    def __init__(self, step: str, exit_code: int) -> None:
        self.step = step
        self.exit_code = exit_code
        super().__init__(f"step {step!r} exited with {exit_code}")


class TimedOut(BuildEnded):
    """The step or the whole build, `step` None, did not end within its `seconds`."""

    def __init__(self, step: str | None, seconds: float) -> None:
        self.step = step
        what = "the build" if step is None else f"step {step!r}"
        super().__init__(f"{what} did not end within its {seconds:g} s")


class Cancelled(BuildEnded):
    """The API ordered that the build be cancelled."""


class QuotaExceeded(BuildEnded):
    """The build put more on the worker's disk than it may."""


class CheckoutFailed(BuildEnded):
    """The source could not be fetched; the message says why, in git's words where they help."""


class SandboxFailed(RunError):
    """The sandbox could not be started."""


class ShuttingDown(RunError):
    """The worker was told to stop, and the grace for its builds is over."""


class LeaseLost(RunError):
    """The API said that this worker does not hold the build any more."""


class ReportImpossible(RunError):
    """A call got no verdict before its deadline."""


def outcome(error: BuildEnded | SandboxFailed) -> tuple[Status, Reason]:
    """Return the status and the reason that go on the build's record."""
    if isinstance(error, TimedOut):
        whole = error.step is None
        return Status.TIMED_OUT, Reason.BUILD_TIMED_OUT if whole else Reason.STEP_TIMED_OUT
    return _OUTCOMES[type(error)]


_OUTCOMES: Final[Mapping[type[RunError], tuple[Status, Reason]]] = {
    StepFailed: (Status.FAILED, Reason.STEP_FAILED),
    QuotaExceeded: (Status.FAILED, Reason.DISK_LIMIT),
    Cancelled: (Status.CANCELLED, Reason.CANCELLED),
    CheckoutFailed: (Status.ERRORED, Reason.CHECKOUT_FAILED),
    SandboxFailed: (Status.ERRORED, Reason.SANDBOX_FAILED),
}
