"""Builds and steps have these states, and builds these reasons; everyone spells them so."""

from enum import StrEnum
from typing import Final


class Status(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"  #: one of the build's own steps failed
    ERRORED = "errored"  #: Baton could not run it, or lost it
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        return self in FINAL


FINAL: Final = frozenset(
    {Status.SUCCEEDED, Status.FAILED, Status.ERRORED, Status.TIMED_OUT, Status.CANCELLED}
)


class Reason(StrEnum):
    """A `Reason` says why a build ended or, the first three, why it waits; stable, for machines."""

    NO_TOKEN = "no_token"  # noqa: S105  the provider gave none; still trying
    TOKEN_REFUSED = "token_refused"  # noqa: S105  the provider's token does not fit the job
    BROKER_UNAVAILABLE = "broker_unavailable"
    TOKENS_SPENT = "tokens_spent"  #: none is left of those exchanged when it was submitted

    STEP_FAILED = "step_failed"
    STEP_TIMED_OUT = "step_timed_out"
    BUILD_TIMED_OUT = "build_timed_out"
    DISK_LIMIT = "disk_limit"  #: it put more on the worker's disk than it may
    CANCELLED = "cancelled"
    CHECKOUT_FAILED = "checkout_failed"
    SANDBOX_FAILED = "sandbox_failed"
    WORKER_FAILED = "worker_failed"  #: the worker met an error of its own
    WORKER_SHUTDOWN = "worker_shutdown"  #: the worker was stopped, and handed the attempt back
    WORKER_LOST = "worker_lost"  #: its lease ran out, on the last attempt allowed
    EXPIRED_IN_QUEUE = "expired_in_queue"


class StepStatus(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"
