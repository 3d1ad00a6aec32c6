"""These models are what users see of a build: the answers to their calls."""

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from app.contract.runs import StepReport
from app.contract.spec import BuildSpec
from app.contract.status import Reason, Status


class WaitReason(StrEnum):
    """A `WaitReason` says why a queued build has not begun; it is stable, for machines."""

    STARTING = "starting"
    TURN = "turn"  #: others' builds come first
    USER_LIMIT = "user_limit"  #: its user has as many under way as are allowed at once
    WORKERS_BUSY = "workers_busy"
    NO_WORKER = "no_worker"
    PROVIDER = "provider"  #: the identity provider gives no token
    BROKER = "broker"  #: the way to the workers is interrupted


class View(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class TokenFacts(View):
    """`TokenFacts` say what the current attempt's token allows, and until when; never the token."""

    issuer: str
    audience: str
    scope: str
    client_id: str
    user_id: str = Field(description="the custom claim, not `sub`")
    build_id: str
    issued_at: datetime
    expires_at: datetime


class AttemptView(View):
    """An `AttemptView` tells of an attempt that ended without a result, and why."""

    attempt: int
    reason: Reason
    ended_at: datetime
    worker: str | None = None


class LogView(View):
    length: int
    sha256: str | None = Field(
        default=None, description="of the last attempt's part, once the build has ended"
    )


class QueueView(View):
    """A `QueueView` says where a queued build stands, and why it waits."""

    why: WaitReason
    message: str
    position: int = Field(description="1: the next; about, since users take turns")
    ahead_own: int = Field(description="builds of the same user before it")
    estimate: float | None = Field(default=None, description="seconds, about; null: unknown")
    worker_seen_at: datetime | None = Field(default=None, description="when a worker spoke last")
    next_try_at: datetime | None = None


class BuildView(View):
    id: str
    owner: str
    status: Status
    reason: Reason | None = None
    message: str | None = None
    spec: BuildSpec
    commit: str | None = None
    steps: list[StepReport] = Field(default_factory=list)
    attempt: int = Field(description="dispatches so far")
    attempts: list[AttemptView] = Field(
        default_factory=list, description="earlier attempts that were lost"
    )
    worker: str | None = None
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    cancel_requested_at: datetime | None = None
    cancelled_by: str | None = None
    retry_of: str | None = None
    log: LogView
    token: TokenFacts | None = None
    queue: QueueView | None = Field(default=None, description="only of one that is shown, queued")


class BuildPage(View):
    builds: list[BuildView]
    next: str | None = Field(default=None, description="cursor of the next page")
