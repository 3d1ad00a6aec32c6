"""Finding an owner's builds by their labels: a bounded look along the index, newest first.

Nothing is indexed by label: what somebody looks for is mostly among the newest, and an entry for
each label of each build would cost every submission, and everybody's memory, for the few who ask.
"""

import json
from collections.abc import Sequence
from typing import Any, Final

from redis.asyncio import Redis

from app.builds.store import keys

#: Builds whose labels are read in one call at most; of each the labels alone, some 60 kB at worst.
MAX_SCANNED_BUILDS: Final = 1000
#: … and at a time: what one call holds in memory, and how long it keeps Redis from others.
_SCAN_BATCH: Final = 100


async def labelled(
    redis: "Redis", index: str, wanted: Sequence[str], *, before: str | None, limit: int
) -> tuple[list[str], str | None]:
    """Up to `limit` ids of an index that have every label of `wanted`, older than the id `before`.

    A label is wanted as `name` or as `name:value`. Returns the ids, newest first, and the id that a
    further look is before, None after the last build: there may be fewer than `limit`, even none,
    and more to come.
    """
    found: list[str] = []
    for _ in range(MAX_SCANNED_BUILDS // _SCAN_BATCH):
        some: Any = await redis.zrevrangebylex(
            index, f"({before}" if before else "+", "-", 0, _SCAN_BATCH
        )
        ids = [build_id.decode() for build_id in some]
        pipe = redis.pipeline(transaction=False)
        for build_id in ids:
            pipe.hget(keys.build(build_id), "labels")
        for build_id, labels in zip(ids, await pipe.execute(), strict=True):
            if labels and fits(json.loads(labels), wanted):
                if len(found) == limit:
                    return found, found[-1]
                found.append(build_id)
        if len(ids) < _SCAN_BATCH:
            return found, None
        before = ids[-1]
    return found, before


def fits(labels: dict[str, str], wanted: Sequence[str]) -> bool:
    """Whether each of `wanted` is a label's name, or its `name:value`; both may hold colons."""
    return all(
        want in labels or any(want == f"{name}:{value}" for name, value in labels.items())
        for want in wanted
    )
