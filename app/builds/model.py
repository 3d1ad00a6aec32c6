"""The model of a build, its worker's credential and its token, as the services pass them around."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Protocol, Self

from pydantic import TypeAdapter

from app.contract.builds import AttemptView, BuildView, LogView, TokenFacts
from app.contract.runs import StepReport
from app.contract.spec import BuildSpec
from app.contract.status import Reason, Status

_STEPS = TypeAdapter(list[StepReport])
_ATTEMPTS = TypeAdapter(list[AttemptView])


def _time(milliseconds: str | None) -> datetime | None:
    return datetime.fromtimestamp(int(milliseconds) / 1000, UTC) if milliseconds else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Build:
    """A build as it is on record."""

    view: BuildView
    version: int  #: of the record; rises with every change of any of its owner's builds
    log_start: int  #: offset in bytes at which the log of the current attempt begins

    @classmethod
    def from_record(cls, record: Mapping[str, str], log_length: int) -> Self:
        """Parse a record: the fields of its hash as text, and the length of its log in bytes.

        Raises `ValueError` for a record that this version cannot read.
        """
        created = _time(record["created"])
        if created is None:
            raise ValueError("a record without its creation time")
        steps = record.get("steps")
        attempts = record.get("attempts")
        view = BuildView(
            id=record["id"],
            owner=record["owner"],
            status=Status(record["status"]),
            reason=Reason(record["reason"]) if record.get("reason") else None,
            message=record.get("message") or None,
            spec=BuildSpec.model_validate_json(record["spec"]),
            commit=record.get("commit") or None,
            steps=_STEPS.validate_json(steps) if steps else [],
            attempt=int(record.get("attempt", "0")),
            attempts=_ATTEMPTS.validate_json(attempts) if attempts else [],
            worker=record.get("worker") or None,
            created_at=created,
            started_at=_time(record.get("started")),
            finished_at=_time(record.get("finished")),
            cancel_requested_at=_time(record.get("cancel_at")),
            cancelled_by=record.get("cancel_by") or None,
            retry_of=record.get("retry_of") or None,
            log=LogView(length=log_length, sha256=record.get("log_sha256") or None),
            token=TokenFacts.model_validate_json(record["token"]) if record.get("token") else None,
        )
        return cls(
            view=view,
            version=int(record.get("version", "0")),
            log_start=int(record.get("log_start", "0")),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Credential:
    """A credential is what the API verified of a worker's token: its user, and which token."""

    user_id: str
    token_id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class PrefetchedTokens:
    """Sealed tokens of a build's attempts, obtained while its user was signed in.

    The store keeps them as they are; only the minter can open them.
    """

    sealed: tuple[str, ...] = field(repr=False)  #: one for each attempt
    ttl: float  #: seconds after which the last of them expires


NO_TOKENS: Final = PrefetchedTokens(sealed=(), ttl=0.0)


class Timers(Protocol):
    """The timers of one attempt, in seconds; `app.config.lifetime` derives them."""

    @property
    def message_expires(self) -> float: ...
    @property
    def run_limit(self) -> float: ...
    @property
    def token_lifetime(self) -> float: ...
    @property
    def hard_limit(self) -> float: ...
