"""The count reader reads the store's totals, and how many builds there are of each kind now."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final

from redis.asyncio import Redis

from app.builds.store import keys
from app.builds.store.connection import translate_errors

#: Upper bounds, in seconds, of the histogram's buckets; one more bucket has the longer waits.
WAITS: Final = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14400)


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """The counts of one moment, over all users."""

    queued: int  #: builds that no worker has claimed, including the dispatched
    dispatched: int  #: builds that are being minted for, or whose message is in the broker
    delayed: int  #: of the queued, those that wait before the next try
    running: int
    oldest_wait: float  #: seconds for which the oldest of the queued has waited; 0 without any
    worker_silence: float | None  #: seconds since a worker called last; None before the first call
    #: Totals since the store was new, by name: `submitted`, `dispatched`, `log_bytes`,
    #: `lease_lost`, `handed_back`, `ended:<status>:<reason>`, and what `waits` reads.
    totals: Mapping[str, int]

    def waits(self, what: str) -> "Waits":
        """Return the waits of first attempts from submission to `what`: `dispatch` or `claim`."""
        bounds = [f"{seconds:g}" for seconds in WAITS] + ["Inf"]
        values = [self.totals.get(f"wait:{what}:{bound}", 0) for bound in bounds]
        return Waits(
            buckets=list(zip(bounds, accumulate(values), strict=True)),
            total=self.totals.get(f"wait_ms:{what}", 0) / 1000,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Waits:
    """A histogram of waiting times, as Prometheus takes it."""

    buckets: Sequence[tuple[str, int]]  #: upper bound in seconds, and how many waited no longer
    total: float  #: sum of all waits, in seconds


class CountReader:
    """The count reader serves `/metrics`."""

    def __init__(self, redis: "Redis") -> None:
        self._redis = redis

    async def read(self) -> Counts:
        """Return the counts, read in one transaction. Raises `StoreUnavailable`."""
        async with translate_errors():
            pipe = self._redis.pipeline(transaction=True)
            pipe.time()
            for each in keys.WAITING, keys.DISPATCHED, keys.DELAYED, keys.LEASES:
                pipe.zcard(each)
            # The first by deadline, which is the first by submission as long as the setting of the
            # longest wait stays the same.
            pipe.zrange(keys.WAITING, 0, 0)
            pipe.hget(keys.PACE, "worker_seen")
            pipe.hgetall(keys.COUNTS)
            values: Any = await pipe.execute()
            (seconds, micros), queued, dispatched, delayed, running, first, seen, totals = values
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
