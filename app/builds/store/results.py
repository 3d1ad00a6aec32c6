"""What the store's scripts answer, and the one large thing that they are told."""

from dataclasses import dataclass
from typing import Literal

from app.contract.status import Status


@dataclass(frozen=True, kw_only=True, slots=True)
class Taken:
    """A build whose turn it is."""

    build_id: str
    owner: str
    timeout: float
    attempt: int  #: dispatches before this one
    take: int  #: which take this is: what its dispatcher writes holds only until the next one
    failures: int  #: how often in a row it could not be dispatched
    trace: str = ""  #: what its submission is part of, as `app.observability.tracing` writes it
    more: bool = True  #: whether somebody stands behind its owner


@dataclass(frozen=True, kw_only=True, slots=True)
class Claimed:
    lease_id: str
    attempt: int
    spec_json: str
    log_offset: int
    timeout: float  #: seconds left
    cancel: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Expired:
    at: float  #: the store's time, in seconds
    held: bool  #: nothing was ended or taken from a worker
    done: list[tuple[str, str]]  #: what was done, as (word, build id)


@dataclass(frozen=True, kw_only=True, slots=True)
class Finish:
    """A final result as the script takes it; `digest` tells whether it is the same result again."""

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
    #: Whose digest is known to be `log_sha256`: the whole log's of this attempt, the tail's alone,
    #: or nobody's yet.
    verified: Literal["log", "tail", ""] = "log"
