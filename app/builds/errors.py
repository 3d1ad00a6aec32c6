"""The errors of calls about builds, and of the broker.

BuildError
├── NotFound               no such build, or another user's
├── SpecRefused            the spec asks for more than the settings allow
├── KeyReused              the Idempotency-Key came with another body before
├── QueueFull              the user has as many builds queued as the limit allows
├── NotCancellable         the build has ended already
├── SameToken              the token is that of the attempt before
├── StoreUnavailable       Redis did not answer; nothing is known to have changed
└── Refused                a worker's call, refused for good: nothing changed
    ├── WrongBuild         the token names another owner
    ├── Superseded         the token is not the current attempt's
    ├── HeldByAnother      another worker has the claim
    ├── LeaseLost          the lease is not the current one
    ├── BuildFinal         the build has ended
    ├── ResultConflict     another result is on record
    ├── LogGap             bytes are missing before the offset
    ├── LogConflict        other bytes stand at the offset
    ├── LogFull            the attempt's log limit is reached
    └── LogIncomplete      the log that the result describes has not arrived whole
QueueUnavailable           the broker did not confirm the message

Where an error has no message of its own, clients read its class's docstring (`app.api.problems`).
"""

from app.contract.status import Status


class BuildError(Exception):
    """A call about a build is wrong, or cannot be carried out."""


class NotFound(BuildError):
    """There is no such build."""


class SpecRefused(BuildError):
    """The spec asks for what the settings do not allow; `pointer` names the member (RFC 6901)."""

    def __init__(self, pointer: str, detail: str) -> None:
        self.pointer = pointer
        super().__init__(detail)


class KeyReused(BuildError):
    """The Idempotency-Key was used with another body; use a new key for a new build."""


class QueueFull(BuildError):
    """The user has `limit` builds queued, which is the most that one user may have."""

    retry_after = 30.0  #: seconds; the next build that begins makes room

    def __init__(self, limit: int) -> None:
        self.limit = limit
        builds = "1 build" if limit == 1 else f"{limit} builds"
        super().__init__(
            f"you have {builds} queued, which is the limit here: submit again when one of them has "
            "begun, or cancel some. BATON_USER_QUEUE is the setting"
        )


class NotCancellable(BuildError):
    """The build has ended already."""

    def __init__(self, status: Status) -> None:
        self.status = status
        super().__init__(f"the build has ended already: {status}")


class SameToken(BuildError):
    """The provider issued the token of the attempt before again: the same second, and no `jti`."""


class StoreUnavailable(BuildError):
    """The store did not answer; try again."""

    retry_after = 2.0  #: seconds


class Refused(BuildError):
    """A worker's call is refused for good: retrying it is no use."""


class WrongBuild(Refused):
    """The token was minted for another build or another user's."""


class Superseded(Refused):
    """Another attempt's token is in force."""


class HeldByAnother(Refused):
    """Another worker has claimed this build."""


class LeaseLost(Refused):
    """The lease is not, or no longer, the one that holds this build."""


class BuildFinal(Refused):
    """The build has ended."""


class ResultConflict(Refused):
    """Another result is on record."""

    def __init__(self, status: Status, log_sha256: str | None) -> None:
        self.status = status
        self.log_sha256 = log_sha256
        super().__init__(f"the build has ended already: {status}")


class _AtOffset(Refused):
    def __init__(self, end: int) -> None:
        self.end = end
        super().__init__(f"the log ends at byte {end}")


class LogGap(_AtOffset):
    """Bytes are missing before the offset; send from `end`."""


class LogConflict(_AtOffset):
    """Other bytes stand at the offset."""


class LogFull(_AtOffset):
    """The attempt's log limit is reached; nothing of this append was taken."""


class LogIncomplete(_AtOffset):
    """The log is not what the result says; send it again from `end`."""


class QueueUnavailable(Exception):
    """The broker did not confirm the message in time; it may have been queued all the same."""
