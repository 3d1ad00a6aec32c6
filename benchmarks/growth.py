"""How the store's work for a build grows with users, queued builds, and the bytes of its log.

    python -m benchmarks.growth [--builds 1000]

A real Redis of its own, filled first; then builds go through the store's own scripts, one after
another: taken from the queue and on record as sent, claimed, finished. The times are those of the
client, a round trip included; `redis` is what Redis says that it worked for all of them, which no
other process of the machine blurs. For logs, pieces of 4 KiB are appended at each length.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import Final, TypeVar

from redis.asyncio import Redis

from app.builds.store import BuildStore, connect
from benchmarks.history import fill
from tests.seams.stored import append, claim, dispatch, result, submit
from tests.support.servers.redis_process import RedisProcess

T = TypeVar("T")

QUEUES: Final = ((1, 100), (1, 100_000), (1_000, 100_000), (10_000, 100_000))
LOGS: Final = (0, 1 << 20, 1 << 24)
_PIECE: Final = b"x" * 4096
_PIECES: Final = 200
_LIMIT: Final = 1 << 30


class Times:
    """Seconds of calls, by their names."""

    def __init__(self) -> None:
        self.by_name: dict[str, list[float]] = {}

    async def of(self, name: str, call: Awaitable[T]) -> T:
        begun = time.perf_counter()
        found = await call
        self.by_name.setdefault(name, []).append(time.perf_counter() - begun)
        return found

    def __str__(self) -> str:
        return "".join(
            f"{statistics.median(times) * 1e3:10.2f}{_p99(times) * 1e3:8.2f}"
            for times in self.by_name.values()
        )


def _p99(times: list[float]) -> float:
    return sorted(times)[len(times) * 99 // 100]


async def worked(redis: "Redis") -> float:
    """Seconds of a core that Redis has used."""
    used = await redis.info("cpu")
    return float(used["used_cpu_user"]) + float(used["used_cpu_sys"])


async def queues(builds: int) -> None:
    print(f"{'users':>7}{'queued':>9}{'dispatch ms':>13}{'p99':>5}{'claim':>10}{'p99':>8}"
          f"{'finish':>10}{'p99':>8}{'redis ms':>10}")  # fmt: skip
    for users, queued in QUEUES:
        with tempfile.TemporaryDirectory() as folder, RedisProcess(Path(folder)) as process:
            redis = connect(process.url)
            store = BuildStore(redis)
            for number in range(users):
                await fill(store, redis, f"auth0|{number}", queued // users)
            times = Times()
            before = await worked(redis)
            cycles = min(builds, queued)
            for _ in range(cycles):
                build_id, who = await times.of("dispatch", dispatch(store))
                await times.of("claim", claim(store, build_id, who))
                ended = store.leases.finish(
                    build_id, who, lease_id="lease of nonce", result=result(log=b"")
                )
                await times.of("finish", ended)
            work = (await worked(redis) - before) / cycles
            print(f"{users:>7,}{queued:>9,}  {times}{work * 1e3:10.3f}", flush=True)
            await store.close()


async def logs() -> None:
    print(f"\n{'log':>10}{'append ms':>12}{'p99':>6}{'redis ms':>10}")
    with tempfile.TemporaryDirectory() as folder, RedisProcess(Path(folder)) as process:
        redis = connect(process.url)
        store = BuildStore(redis)
        build_id = await submit(store)
        _, who = await dispatch(store)
        await claim(store, build_id, who)
        offset = 0
        for length in LOGS:
            while offset < length:
                piece = b"x" * min(1 << 19, length - offset)
                await append(store, build_id, who, offset, piece, limit=_LIMIT)
                offset += len(piece)
            times = Times()
            before = await worked(redis)
            for _ in range(_PIECES):
                call = append(store, build_id, who, offset, _PIECE, limit=_LIMIT)
                await times.of("append", call)
                offset += len(_PIECE)
            work = (await worked(redis) - before) / _PIECES
            print(f"{length:>10,}  {times}{work * 1e3:10.3f}", flush=True)
        await store.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--builds", type=int, default=1000, help="that go through, of each queue")
    options = parser.parse_args()
    asyncio.run(queues(options.builds))
    asyncio.run(logs())


if __name__ == "__main__":
    main()
