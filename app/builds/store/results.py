"""The results of the store's scripts, and `Finish`, the largest argument of one."""

from dataclasses import dataclass
from typing import Literal

from app.contract.status import Status


@dataclass(frozen=True, kw_only=True, slots=True)
class Taken:
    """A build whose turn it is to be dispatched."""

    build_id: str
    owner: str
    timeout: float  #: seconds
    attempt: int  #: attempts before this one
    take: int  #: fencing token: what its dispatcher writes counts only until the next take
    failures: int  #: failed dispatches in a row
    trace: str = ""  #: context of its submission's trace, as `app.observability.tracing` writes it
    more: bool = True  #: whether an owner waits for a turn


@dataclass(frozen=True, kw_only=True, slots=True)
class Claimed:
    """A build that a worker has claimed."""

    lease_id: str
    attempt: int
    spec_json: str
    log_offset: int  #: bytes; where the log of this attempt begins
    timeout: float  #: seconds left
    cancel: bool  #: whether its user has cancelled it


@dataclass(frozen=True, kw_only=True, slots=True)
class Expired:
    """What one run of the script `expire` did."""

    at: float  #: seconds since 1970, by the store's clock
    held: bool  #: whether no build was ended or taken from a worker
    done: list[tuple[str, str]]  #: what was done, as (word, build id)


@dataclass(frozen=True, kw_only=True, slots=True)
class Finish:
    """A final result as the script `finish` takes it.

    `digest` identifies the result: the same digest again is the same result, repeated.
    """

    status: Status
    reason: str
    message: str
    steps: str
    commit: str
    log_length: int
    log_sha256: str
    digest: str
    tail: bytes = b""  #: the last bytes of the log, if the store has not got them yet
    log_limit: int = 0  #: bytes that the attempt's log may have, when there is a tail
    #: What was found to have the digest `log_sha256`: the whole log of this attempt, the tail by
    #: itself, or nothing yet.
    verified: Literal["log", "tail", ""] = "log"
