"""The queue reader reads where a queued build stands: a few ranks and counts, each in O(log n)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from app.builds.store import keys
from app.builds.store.connection import translate_errors


@dataclass(frozen=True, kw_only=True, slots=True)
class Wait:
    """A queued build among the others. Times are in seconds since 1970, by the store's clock."""

    now: float
    reason: str  #: why it was put back last; empty if it was not
    message: str
    rank: int | None  #: builds of the same user before it; None when it is not in a queue
    turn: int | None  #: users whose turn comes before its user's
    users: int  #: users with builds queued
    queued: int  #: builds of all users that no worker has begun
    dispatched: int  #: of these, the ones that are on their way to a worker
    dispatched_rank: int | None  #: its rank among the dispatched, by the time of their deadline
    claim_by: float | None  #: until when it must be claimed, once dispatched
    sent: bool  #: whether its message was sent, or is about to be
    retry_at: float | None  #: when it is queued again, after it was put back
    active: int  #: its user's builds that are dispatched or running
    running: int  #: builds of all users that are running
    mean_run: float | None  #: the moving average of run times, in seconds
    runs: int  #: builds in this average
    worker_seen: float | None  #: when a worker called last


class QueueReader:
    """The queue reader serves `app.builds.queue_position`."""

    def __init__(self, redis: "Redis") -> None:
        self._redis = redis

    async def read(self, owner: str, build_id: str) -> Wait:
        """Return where a build stands, read in one transaction. Raises `StoreUnavailable`."""
        async with translate_errors():
            pipe = self._redis.pipeline(transaction=True)
            pipe.time()
            pipe.hmget(keys.build(build_id), "reason", "message", "phase")
            pipe.zrank(keys.queue(owner), build_id)
            pipe.zrank(keys.TURNS, owner)
            pipe.zcard(keys.TURNS)
            pipe.zcard(keys.WAITING)
            pipe.zcard(keys.DISPATCHED)
            pipe.zrank(keys.DISPATCHED, build_id)
            pipe.zscore(keys.DISPATCHED, build_id)
            pipe.zscore(keys.DELAYED, build_id)
            pipe.scard(keys.active(owner))
            pipe.zcard(keys.LEASES)
            pipe.hgetall(keys.PACE)
            found: Any = await pipe.execute()
        (seconds, micros), record, rank, turn, users, queued, dispatched, place = found[:8]
        claim_by, retry_at, active, running, pace = found[8:]
        reason, message, phase = (str(field or b"", "utf-8") for field in record)
        return Wait(
            now=seconds + micros / 1_000_000,
            reason=reason,
            message=message,
            rank=rank,
            turn=turn,
            users=users,
            queued=queued,
            dispatched=dispatched,
            dispatched_rank=place,
            claim_by=_seconds(claim_by),
            sent=phase == "sent",
            retry_at=_seconds(retry_at),
            active=active,
            running=running,
            mean_run=_of(pace, b"run_ms"),
            runs=int(pace.get(b"runs", 0)),
            worker_seen=_of(pace, b"worker_seen"),
        )


def _of(pace: Mapping[bytes, bytes], name: bytes) -> float | None:
    return _seconds(pace.get(name))


def _seconds(milliseconds: bytes | float | None) -> float | None:
    return None if milliseconds is None else float(milliseconds) / 1000
