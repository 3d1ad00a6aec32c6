"""Whether a long history makes lists slow: the first and the last page of 1,000 and of 1,000,000.

    python -m benchmarks.history [--long 1000000] [--pages 300]

Two users of one store, a real Redis of its own: one has submitted few builds, the other many,
through the same script as ever. Their pages are asked for in turns, in one run; the ratios are what
to look at. A million builds take about 1.5 GB and some minutes to make.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from app.builds.ids import BuildIds
from app.builds.store import BuildStore, connect
from tests.redis_process import RedisProcess

SHORT: Final = 1_000
_SPEC: Final = '{"steps":[{"name":"test","run":"make test"}],"labels":{"pr":"17"}}'
_AT_ONCE: Final = 50
_PAGE: Final = 20

FEW, MANY = "auth0|few", "auth0|many"


async def submit(store: BuildStore, owner: str, builds: int) -> list[str]:
    """Have a user submit so many builds; returns the ids of the oldest ones, a page and one."""
    ids = BuildIds()
    left = iter(range(builds))
    made: list[str] = []

    async def some() -> None:
        for number in left:
            build_id = ids.new()
            if number <= _PAGE:
                made.append(build_id)
            await store.submit(
                build_id=build_id, owner=owner, spec_json=_SPEC, timeout=60, max_wait=86400,
                retry_of=None, idempotency=None, idempotency_ttl=60,
            )  # fmt: skip

    await asyncio.gather(*(some() for _ in range(_AT_ONCE)))
    return sorted(made)


async def run(folder: Path, *, long: int, pages: int) -> None:
    with RedisProcess(folder) as process:
        store = BuildStore(connect(process.url))
        calls: dict[tuple[str, str], Callable[[], Awaitable[None]]] = {}
        for owner, builds in ((FEW, SHORT), (MANY, long)):
            begun = time.monotonic()
            oldest = await submit(store, owner, builds)
            print(f"{builds:>9,} builds submitted in {time.monotonic() - begun:.0f} s")
            for page, before in (("first page", None), ("last page", oldest[-1])):
                calls[owner, page] = page_of(store, owner, before)
        times = await measure(calls, pages)
        await store.close()
    print(f"\n{'':12}{SHORT:>12,}{long:>12,}   ratio (median of {pages}, in turns)")
    for page in ("first page", "last page"):
        few, many = (statistics.median(times[owner, page]) for owner in (FEW, MANY))
        print(f"{page:12}{few * 1e3:>9.2f} ms{many * 1e3:>9.2f} ms   {many / few:.2f}")


def page_of(store: BuildStore, owner: str, before: str | None) -> Callable[[], Awaitable[None]]:
    async def call() -> None:
        builds, _ = await store.page(owner, status=None, before=before, limit=_PAGE)
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
