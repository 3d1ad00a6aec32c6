"""What the store counts of all builds, and how many there are of each kind now."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from app.builds.store import keys
from app.builds.store.connection import answering


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    queued: int  #: no worker has begun them; the dispatched among them
    dispatched: int
    delayed: int  #: of the queued, those that wait before the next try
    running: int
    oldest_wait: float  #: seconds for which the first of the queued has waited; 0 without any
    worker_silence: float | None  #: seconds since any worker spoke; None where none ever did
    #: Since the store was new, by name: `submitted`, `dispatched`, `log_bytes`, `lease_lost`,
    #: `handed_back`, and `ended:<status>:<reason>`.
    totals: Mapping[str, int]


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
