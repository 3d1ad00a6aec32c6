"""These messages pass between a worker and the API, in the order of a build's life.

1. `POST …/claim` with a `ClaimRequest` → `Claim`. The nonce makes a claim whose answer was lost
   repeatable; the lease id in the answer is sent with every later write, as `Baton-Lease`, and
   fences it.
2. `PATCH …/log` with raw bytes and `Content-Range: bytes a-b/*` → 202 `Appended`; 416 with the end
   that the API has when bytes are missing in between.
3. `POST …/heartbeat`, or `PUT …` with a `Progress` → `Directive`. A heartbeat that says `Prefer:
   wait=N` renews the lease when it arrives; it is answered as soon as there is an order, or the
   build is not this worker's any more, else after the seconds that the answer's
   `Preference-Applied: wait=…` names (earlier when that API process ends), and the next one may
   follow at once. An answer without that header was not held: the next one is due in a third of
   the lease.
4. `PUT …` with a `Handback` when the worker is told to stop before the build has ended.
5. `PUT …` with a `Result`, which brings the last bytes of the log along → 200 `Directive`; 412 with
   `LogEnd` when the log is not complete even so.

A claim, a log append, a heartbeat and a `Progress` renew the lease. A worker believes only JSON of
these shapes, or problem details whose type is in `problems.Code`; any other response is noise, and
the request is retried.
Messages ignore unknown fields, so that API and workers can be deployed apart.
"""

import base64
import re
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)

from app.contract.spec import MAX_STEPS, BuildSpec, Name, number
from app.contract.status import FINAL, Reason, Status, StepStatus

LEASE_HEADER: Final = "Baton-Lease"

#: The least number of heartbeats that a worker sends during one lease.
HEARTBEATS: Final = 3

#: Bytes of one log append; the API refuses larger bodies.
MAX_LOG_CHUNK: Final = 256 * 1024

#: Bytes of log that a result may carry.
MAX_LOG_TAIL: Final = 64 * 1024

Nonce = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{16,64}$")]
#: Characters of a result's message.
MAX_TEXT: Final = 2000
Text = Annotated[str, StringConstraints(max_length=MAX_TEXT)]
ExitCode = Annotated[int, Field(ge=-(2**31), lt=2**31), BeforeValidator(number)]
Offset = Annotated[int, Field(ge=0, le=2**53), BeforeValidator(number)]


_DATE_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d", re.ASCII)


def _utc(time: datetime) -> datetime:
    try:
        return time.astimezone(UTC)
    except OverflowError:
        raise ValueError("is before the year 1 or after 9999 in UTC") from None


def _rfc_3339(time: object) -> object:
    """Refuse numbers and text that is a number; pydantic would take both for a time."""
    if isinstance(time, datetime) or (isinstance(time, str) and _DATE_TIME.match(time)):
        return time
    raise ValueError("must be text like 2026-01-01T00:00:00Z (RFC 3339)")


Time = Annotated[AwareDatetime, BeforeValidator(_rfc_3339), AfterValidator(_utc)]


class Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class ClaimRequest(Message):
    nonce: Nonce = Field(description="new for every delivery of a message; the same when repeated")
    worker: Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")] = (
        Field(description="host and pid, for people")
    )


class Claim(Message):
    """A `Claim` answers a claim with all that a worker needs to run the build."""

    build_id: str
    attempt: int
    spec: BuildSpec
    lease_id: str
    lease_seconds: float = Field(description="how long the worker may stay silent")
    timeout: float = Field(description="seconds left for checkout and steps, from now")
    kill_grace: float = Field(description="seconds between SIGTERM and SIGKILL")
    report_window: float = Field(description="seconds in which the worker keeps trying to report")
    log_offset: int = Field(description="where this attempt's log begins")
    log_limit: int = Field(description="bytes that this attempt may append; more is truncated")
    cancel: bool = False


class Directive(Message):
    """A `Directive` says what the API wants of the worker that holds the lease."""

    cancel: bool = False
    lease_seconds: float


class LogEnd(Message):
    end: int = Field(description="bytes of log that the API has; send from here")


class Appended(LogEnd, Directive):
    """`Appended` answers a log append."""


class StepReport(Message):
    name: Name
    status: StepStatus = StepStatus.PENDING
    exit_code: ExitCode | None = None
    started_at: Time | None = None
    finished_at: Time | None = None
    log_offset: Offset | None = Field(default=None, description="where the step's output begins")


#: Steps go on the record, so there may be no more of them than a spec can have.
Steps = Annotated[list[StepReport], Field(max_length=MAX_STEPS)]


def _needs_status(schema: dict[str, Any]) -> None:
    """Require `status` on the wire, where it tells the reports apart; Python code may omit it."""
    schema["required"] = ["status", *schema.get("required", ())]


class Progress(Message):
    """A `Progress` reports the steps of a running build so far."""

    model_config = ConfigDict(json_schema_extra=_needs_status)

    status: Literal[Status.RUNNING] = Status.RUNNING
    steps: Steps = Field(default_factory=list)
    commit: str | None = Field(default=None, pattern=r"^([0-9a-f]{40}|[0-9a-f]{64})$")


class Handback(Message):
    """A worker that shuts down hands its build back; a new attempt begins at once."""

    model_config = ConfigDict(json_schema_extra=_needs_status)

    status: Literal[Status.QUEUED] = Status.QUEUED


def _base64url(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        decoded = base64.b64decode(value, altchars=b"-_", validate=True)
    except ValueError:
        decoded = b""
    if base64.urlsafe_b64encode(decoded).decode() != value:
        raise ValueError("must be base64url with padding (RFC 4648 §5)")
    return decoded


#: Bytes that JSON carries as base64 with the alphabet for URLs, and padding (RFC 4648 §5).
LogTail = Annotated[
    bytes,
    Field(max_length=MAX_LOG_TAIL),
    BeforeValidator(_base64url),
    WithJsonSchema(
        {
            "type": "string",
            "format": "base64url",
            "maxLength": -(-MAX_LOG_TAIL // 3) * 4,
            "pattern": "^([A-Za-z0-9_-]{4})*"
            "([A-Za-z0-9_-][AQgw]==|[A-Za-z0-9_-]{2}[AEIMQUYcgkosw048]=)?$",
        }
    ),
]


class Result(Message):
    """A `Result` reports the end of a build; the same one may be sent again, another is refused."""

    model_config = ConfigDict(ser_json_bytes="base64")

    status: Status = Field(json_schema_extra={"enum": [*sorted(FINAL)]})
    reason: Reason | None = None
    message: Text | None = None
    steps: Steps = Field(default_factory=list)
    commit: str | None = Field(default=None, pattern=r"^([0-9a-f]{40}|[0-9a-f]{64})$")
    log_length: Offset = Field(description="where the log ends, earlier attempts included")
    log_sha256: str = Field(
        pattern=r"^[0-9a-f]{64}$",
        description="of this attempt's bytes, from the claim's log_offset",
    )
    log_tail: LogTail = Field(
        default=b"",
        description="the log's last bytes, up to log_length; the API may have some of them already",
    )

    @model_validator(mode="after")
    def _is_final(self) -> Self:
        if self.status not in FINAL:
            raise ValueError(f"{self.status} is not a final status")
        return self
