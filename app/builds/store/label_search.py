"""The label search finds an owner's builds by a bounded scan of their index, newest first.

Builds are not indexed by label. Most searches are for recent builds, while an index entry for each
label of each build would cost time at every submission, and memory for all users.
"""

import json
from collections.abc import Sequence
from typing import Any, Final

from redis.asyncio import Redis

from app.builds.store import keys

#: Builds that one search reads at most; of each the labels alone, 60 kB at worst.
MAX_SCANNED_BUILDS: Final = 1000
#: Builds read at a time, which bounds the memory of a search and the time that Redis is busy.
_SCAN_BATCH: Final = 100


async def labelled(
    redis: "Redis", index: str, wanted: Sequence[str], *, before: str | None, limit: int
) -> tuple[list[str], str | None]:
    """Return up to `limit` ids of an index that have every label of `wanted`, newest first.

    `wanted` holds a `name` or `name:value` for each label; only ids older than `before` are read.
    The second value is the id to pass as `before` next, None after the last build. There may be
    fewer than `limit` ids, even none, although more follow.
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
    """Return whether each of `wanted` is a label's name or `name:value`; both may hold colons."""
    return all(
        want in labels or any(want == f"{name}:{value}" for name, value in labels.items())
        for want in wanted
    )
