"""`python -m chaos.soak`: thousands of builds that do nothing; does anything grow, or stay behind?

One API, two workers, no faults. The memory of each process at the end is compared with that after
the first tenth. Builds are kept for a short while only, so that the store's memory is comparable,
too, and deletion has to keep up with what comes in. Ends with 1 when something grew or stayed.
"""

import argparse
import asyncio
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
from redis import Redis

from chaos import leftovers, processes, verdicts
from chaos.verdicts import Column
from tests.support.stack import ExecutedStack, Stack
from tests.support.waiting import wait_until

USERS: Final = ("ann", "bob", "cleo", "dan")
WORKERS: Final = 2
CONCURRENCY: Final = 4
#: Builds of each user that are under way at once.
_IN_FLIGHT: Final = 12
#: A process may have grown by so much since the first thousand builds.
ALLOWED: Final = 1.2
#: Seconds for which builds are kept: some thousand at a time, so that many are deleted meanwhile.
_RETENTION: Final = 20
#: Seconds for the last builds to be deleted.
_DELETION: Final = 120.0
#: Seconds for a build to end, behind those that are before it.
_END: Final = 300.0

SETTINGS: Final = {
    "BATON_RETENTION": str(_RETENTION),
    "BATON_USER_CONCURRENCY": "8",
    "BATON_DISPATCH_WINDOW": "16",
}
_SPEC: Final = {"steps": [{"name": "nothing", "run": "true"}]}


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    columns: Sequence[Column]
    memory: Sequence[Column]

    def clean(self) -> bool:
        return not any(column.bad for column in self.columns)


class Load:
    """Keeps so many builds under way until all have ended."""

    def __init__(self, stack: Stack) -> None:
        # Servers close what was idle for 5 s: it must not be just then that it is used again.
        limits = httpx.Limits(keepalive_expiry=2)
        self._http = httpx.AsyncClient(base_url=stack.api_url, timeout=60, limits=limits)
        self._tokens = [stack.token(name) for name in USERS]
        self._left = 0
        self.statuses: Counter[str] = Counter()

    async def run(self, builds: int) -> None:
        """Run that many builds."""
        self._left = builds
        async with asyncio.TaskGroup() as tasks:
            for token in self._tokens:
                for _ in range(_IN_FLIGHT):
                    tasks.create_task(self._one_after_another(token))

    async def close(self) -> None:
        await self._http.aclose()

    async def _one_after_another(self, token: str) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        while self._left > 0:
            self._left -= 1
            answer = await self._http.post("/builds", json=_SPEC, headers=headers)
            while answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
                await asyncio.sleep(float(answer.headers["retry-after"]))
                answer = await self._http.post("/builds", json=_SPEC, headers=headers)
            answer.raise_for_status()
            self.statuses[await self._end_of(answer.json()["id"], headers)] += 1

    async def _end_of(self, build_id: str, headers: Mapping[str, str]) -> str:
        """The final status; the log's stream ends with the build, so that nobody has to poll."""
        end = time.monotonic() + _END
        while time.monotonic() < end:
            await self._http.get(f"/builds/{build_id}/log", params={"follow": 1}, headers=headers)
            answer = await self._http.get(f"/builds/{build_id}", headers=headers)
            answer.raise_for_status()
            build = answer.json()
            if build["finished_at"]:
                return str(build["status"])
        return "without an end"


async def soak(*, builds: int, first: int, folder: Path) -> Outcome:
    """Run so many builds; memory is compared with that after the `first` of them."""
    with ExecutedStack(folder, **SETTINGS) as stack:
        for _ in range(WORKERS):
            await asyncio.to_thread(lambda: stack.worker(concurrency=CONCURRENCY))
        load = Load(stack)
        begun = time.monotonic()
        try:
            await load.run(first)
            before = _memory(stack)
            await load.run(builds - first)
        finally:
            await load.close()
        seconds = time.monotonic() - begun
        after = _memory(stack)
        with Redis.from_url(stack.redis.url) as redis:
            kinds = leftovers.kinds(redis)
            wrong = leftovers.leftovers(redis)
            gone = await asyncio.to_thread(_all_deleted, redis)
            columns = [
                verdicts.good("builds", f"{builds} in {seconds:.0f} s, {builds / seconds:.1f}/s"),
                verdicts.bad(
                    "not succeeded",
                    [f"{n} {status}" for status, n in load.statuses.items()
                     if status != "succeeded"],
                ),
                verdicts.good("keys at the end", _counted(kinds)),
                verdicts.bad("keys that nothing refers to", wrong),
                verdicts.bad("keys left when every build was deleted", gone),
            ]  # fmt: skip
        return Outcome(columns=columns, memory=_growth(before, after))


def _all_deleted(redis: "Redis") -> list[str]:
    """Wait for the end of the retention; returns the keys that are there even then, and ought not
    to be."""
    wait_until("all is deleted", lambda: not redis.exists("{baton}:ended"), seconds=_DELETION)
    return leftovers.leftovers(redis)


def _memory(stack: Stack) -> dict[str, int]:
    """Resident bytes of every process of Baton, and of its store."""
    found = {"api": processes.memory(stack.api.pid)}
    for worker in stack.workers:
        found[worker.name] = processes.memory(worker.pid)
        for number, pid in enumerate(processes.children(worker.pid), start=1):
            found[f"{worker.name}, pool process {number}"] = processes.memory(pid)
    with Redis.from_url(stack.redis.url) as redis:
        found["redis"] = processes.memory(int(redis.info("server")["process_id"]))
    return found


def _growth(before: Mapping[str, int], after: Mapping[str, int]) -> list[Column]:
    columns = []
    for name in before.keys() | after.keys():
        old, new = before.get(name, 0), after.get(name, 0)
        ratio = new / old if old else float("inf")
        text = f"{old / 2**20:6.1f} MiB → {new / 2**20:6.1f} MiB  {ratio:.2f}"
        grown = [f"more than {ALLOWED} times as much"] if ratio > ALLOWED else []
        columns.append(Column(name=name, value=text, bad=grown))
    return sorted(columns, key=lambda column: column.name)


def _counted(kinds: Counter[str]) -> str:
    return ", ".join(f"{n} {kind}" for kind, n in sorted(kinds.items()))


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m chaos.soak", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--builds", type=int, default=10_000)
    parser.add_argument("--first", type=int, help="builds before memory counts; default: a tenth")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends the parts, too
    first = options.first or max(1, options.builds // 10)
    with tempfile.TemporaryDirectory() as folder:
        outcome = asyncio.run(soak(builds=options.builds, first=first, folder=Path(folder)))
    print(verdicts.table(outcome.columns))
    print(f"\nmemory after {first} builds and at the end")
    print(verdicts.table(outcome.memory))
    return 0 if outcome.clean() and not any(each.bad for each in outcome.memory) else 1


if __name__ == "__main__":
    sys.exit(main())
