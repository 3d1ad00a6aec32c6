"""Whether a long history makes lists slow: the first and the last page of 1,000 and of 1,000,000.

    python -m benchmarks.history [--long 1000000] [--pages 300]

Two users of one store, a real Redis of its own: one has few builds, the other many. Each has
submitted one, through the same script as ever, and the rest are copies of it: all that is on record
of it, under ids of their own. Their pages are asked for in turns, in one run; the ratios are what
to look at. A million builds take about 1.5 GB.
"""

import argparse
import asyncio
import itertools
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from redis.asyncio import Redis

from app.builds.ids import BuildIds
from app.builds.store import BuildStore, connect, keys
from app.contract.status import Status
from tests.support.servers.redis_process import RedisProcess

SHORT: Final = 1_000
_SPEC: Final = '{"steps":[{"name":"test","run":"make test"}],"labels":{"pr":"17"}}'
_PAGE: Final = 20
_DIGITS: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  #: of an id, in their order

FEW, MANY = "auth0|few", "auth0|many"

_BATCH: Final = 1000
#: The keys that list builds, then a build's record and the ids of its copies.
_COPY: Final = """
local record = redis.call('HGETALL', KEYS[#KEYS])
local place
for i = 1, #record, 2 do if record[i] == 'id' then place = i + 1 end end
local original = record[place]
local prefix = string.sub(KEYS[#KEYS], 1, -1 - #original)
for _, id in ipairs(ARGV) do
  record[place] = id
  redis.call('HSET', prefix .. id, unpack(record))
end
for i = 1, #KEYS - 1 do
  local score = redis.call('ZSCORE', KEYS[i], original)
  local members = {}
  for n, id in ipairs(ARGV) do
    members[2 * n - 1] = score
    members[2 * n] = id
  end
  redis.call('ZADD', KEYS[i], unpack(members))
end
"""


async def fill(store: BuildStore, redis: "Redis", owner: str, builds: int) -> list[str]:
    """Give a user so many builds; returns their ids, the oldest first."""
    first = BuildIds().new()
    ids = (first[:-5] + "".join(end) for end in itertools.product(_DIGITS, repeat=5))
    oldest, *copies = itertools.islice(ids, builds)
    await store.records.submit(
        build_id=oldest, owner=owner, spec_json=_SPEC, timeout=60, max_wait=86400,
        retry_of=None, idempotency=None, idempotency_ttl=60,
    )  # fmt: skip
    lists = (
        keys.index(owner, "all"), keys.index(owner, Status.QUEUED), keys.queue(owner),
        keys.changes(owner), keys.WAITING,
    )  # fmt: skip
    copy = redis.register_script(_COPY)
    for at in range(0, len(copies), _BATCH):
        await copy(keys=[*lists, keys.build(oldest)], args=copies[at : at + _BATCH])
    return [oldest, *copies]


async def run(folder: Path, *, long: int, pages: int) -> None:
    with RedisProcess(folder) as process:
        redis = connect(process.url)
        store = BuildStore(redis)
        # Nobody will read what is filled in again; to write it twice is most of the time.
        await redis.config_set("appendonly", "no")
        calls: dict[tuple[str, str], Callable[[], Awaitable[None]]] = {}
        for owner, builds in ((FEW, SHORT), (MANY, long)):
            begun = time.monotonic()
            ids = await fill(store, redis, owner, builds)
            print(f"{builds:>9,} builds in {time.monotonic() - begun:.0f} s")
            for page, before in (("first page", None), ("last page", ids[_PAGE])):
                calls[owner, page] = page_of(store, owner, before)
        times = await measure(calls, pages)
        await store.close()
    print(f"\n{'':12}{SHORT:>12,}{long:>12,}   ratio (median of {pages}, in turns)")
    for page in ("first page", "last page"):
        few, many = (statistics.median(times[owner, page]) for owner in (FEW, MANY))
        print(f"{page:12}{few * 1e3:>9.2f} ms{many * 1e3:>9.2f} ms   {many / few:.2f}")


def page_of(store: BuildStore, owner: str, before: str | None) -> Callable[[], Awaitable[None]]:
    async def call() -> None:
        builds, _ = await store.records.page(owner, status=None, before=before, limit=_PAGE)
        assert len(builds) == _PAGE

    return call


async def measure(
    calls: dict[tuple[str, str], Callable[[], Awaitable[None]]], pages: int
) -> dict[tuple[str, str], list[float]]:
    """Seconds for each call, made in turns."""
    times: dict[tuple[str, str], list[float]] = {name: [] for name in calls}
    for _ in range(pages):
        for name, call in calls.items():
            begun = time.perf_counter()
            await call()
            times[name].append(time.perf_counter() - begun)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--long", type=int, default=1_000_000)
    parser.add_argument("--pages", type=int, default=300)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(Path(folder), long=options.long, pages=options.pages))


if __name__ == "__main__":
    main()
