"""What the store counts of all builds, and how many there are of each kind now."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final

from redis.asyncio import Redis

from app.builds.store import keys
from app.builds.store.connection import answering

#: Upper bounds, in seconds, of the buckets that waits are counted in; one more has the longer ones.
WAITS: Final = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14400)


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    queued: int  #: no worker has begun them; the dispatched among them
    dispatched: int
    delayed: int  #: of the queued, those that wait before the next try
    running: int
    oldest_wait: float  #: seconds for which the first of the queued has waited; 0 without any
    worker_silence: float | None  #: seconds since any worker spoke; None where none ever did
    #: Since the store was new, by name: `submitted`, `dispatched`, `log_bytes`, `lease_lost`,
    #: `handed_back`, `ended:<status>:<reason>`, and what `waits` reads.
    totals: Mapping[str, int]

    def waits(self, what: str) -> "Waits":
        """From submission to `dispatch` or to `claim`, of first attempts."""
        bounds = [f"{seconds:g}" for seconds in WAITS] + ["Inf"]
        found = [self.totals.get(f"wait:{what}:{bound}", 0) for bound in bounds]
        return Waits(
            buckets=list(zip(bounds, accumulate(found), strict=True)),
            total=self.totals.get(f"wait_ms:{what}", 0) / 1000,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Waits:
    buckets: Sequence[tuple[str, int]]  #: how many waited no longer than so many seconds
    total: float  #: seconds of all together


class CountReader:
    def __init__(self, redis: "Redis") -> None:
        self._redis = redis

    async def read(self) -> Counts:
        """Raises `StoreUnavailable`."""
        async with answering():
            pipe = self._redis.pipeline(transaction=True)
            pipe.time()
            for each in keys.WAITING, keys.DISPATCHED, keys.DELAYED, keys.LEASES:
                pipe.zcard(each)
            # In the order of their deadlines, which is that of their submission as long as the
            # longest wait stays the same.
            pipe.zrange(keys.WAITING, 0, 0)
            pipe.hget(keys.PACE, "worker_seen")
            pipe.hgetall(keys.COUNTS)
            found: Any = await pipe.execute()
            (seconds, micros), queued, dispatched, delayed, running, first, seen, totals = found
            created = await self._created(first[0].decode()) if first else None
        now = seconds + micros / 1_000_000
        return Counts(
            queued=queued,
            dispatched=dispatched,
            delayed=delayed,
            running=running,
            oldest_wait=max(0.0, now - created) if created is not None else 0.0,
            worker_silence=max(0.0, now - float(seen) / 1000) if seen else None,
            totals={name.decode(): int(value) for name, value in totals.items()},
        )

    async def _created(self, build_id: str) -> float | None:
        created: Any = await self._redis.hget(keys.build(build_id), "created")
        return float(created) / 1000 if created else None
