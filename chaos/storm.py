"""The storm: hundreds of builds while everything around them breaks, and what is left of it."""

import asyncio
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from redis import Redis

from chaos import leftovers, processes, verdicts
from chaos.faults import Done, Faults
from chaos.plan import CANARY, USERS, Fault, Job, canary, plan
from chaos.proxy import FaultProxy
from chaos.thief import Loot, steal
from chaos.users import Users
from chaos.verdicts import Column
from chaos.witness import BrokerTap, Witness
from tests.support.stack import ExecutedStack, Part, Stack

#: Short times, so that losses are found, and recovered from, many times in one storm.
SETTINGS: Final = {
    "BATON_LEASE": "3",
    "BATON_KILL_GRACE": "1",
    "BATON_QUEUE_TTL": "8",
    "BATON_REPORT_WINDOW": "60",
    "BATON_MAX_BUILD_TIMEOUT": "120",
    # A build may be hit many times here, and has to end as planned all the same.
    "BATON_MAX_ATTEMPTS": "90",
    "BATON_USER_CONCURRENCY": "4",
}
_LEASE: Final = float(SETTINGS["BATON_LEASE"])
_REPLICAS: Final = 2
_CONCURRENCY: Final = 2  #: builds that a worker runs at once
#: Seconds after the last fault within which every build has ended. A build whose dispatcher was
#: killed while it got a token is found after a minute.
_DRAIN: Final = 180.0
#: Seconds after the last end in which late calls and messages may still do harm.
_LATE: Final = 2 * _LEASE
#: Seconds for processes that were told to end to be gone.
_GONE: Final = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    columns: Sequence[Column]
    folder: Path | None  #: where the parts' logs are, when they were kept

    @property
    def clean(self) -> bool:
        return not any(column.bad for column in self.columns)


def works_in_bubblewrap() -> bool:
    program = shutil.which("bwrap")
    trial = [program or "", "--unshare-all", "--ro-bind", "/", "/", "true"]
    return program is not None and subprocess.run(trial, check=False).returncode == 0


async def storm(
    *, seed: int, seconds: float, builds: int, workers: int, keep: bool = False
) -> Outcome:
    """Run the storm of `seed`: `seconds` of faults, then as long as the last build takes. What the
    parts said is kept when something was found, and with `keep` in any case."""
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    run = secrets.randbelow(10**6)
    # No more messages than there are slots: who submits next must not wait behind a heap of them.
    window = {"BATON_DISPATCH_WINDOW": str(workers * _CONCURRENCY)}
    with ExecutedStack(folder, **SETTINGS, **window) as stack:
        outcome = await Storm(stack, run, seed, seconds, builds, workers).to_the_end()
    left = processes.marked(*_marks(run))
    columns = [*outcome, verdicts.bad("processes left after all parts ended", left)]
    if keep or any(column.bad for column in columns):
        return Outcome(columns=columns, folder=folder)
    shutil.rmtree(folder)
    return Outcome(columns=columns, folder=None)


def _marks(run: int) -> tuple[str, ...]:
    return f"CHAOS_RUN={run} ", f"sleep 7{run:08d}"


class Storm:
    def __init__(
        self, stack: Stack, run: int, seed: int, seconds: float, builds: int, workers: int
    ) -> None:
        self._stack = stack
        self._run = run
        self._seed = seed
        self._seconds = seconds
        self._plan = plan(seed, seconds=seconds, builds=builds, workers=workers, replicas=_REPLICAS)
        self._workers = workers

    async def to_the_end(self) -> list[Column]:
        async with self._parts() as (proxy, tap, witness, users, faults):
            done = await self._rage(users, faults)
            await self._drain(users, witness)
            proxy.harmless = True
            await asyncio.sleep(_LATE)
            left = await self._processes_left()
            with Redis.from_url(self._stack.redis.url) as redis:
                keys = leftovers.leftovers(redis, besides=leftovers.UNACKNOWLEDGED)
            loot = await steal(proxy.url, tap.tokens, proxy.leases)
            await witness.look_last()
            return [
                verdicts.good("seed", self._seed),
                *verdicts.of_builds(users.tally.accepted, witness, users.tally.followed),
                verdicts.bad("processes left behind", left),
                verdicts.bad("keys left behind", keys),
                *self._of_tokens(loot, witness),
                verdicts.bad("answers without excuse", users.tally.surprises),
                verdicts.bad("parts that died or would not stop", faults.died),
                verdicts.good("calls harmed", _counted(proxy)),
                *verdicts.of_faults(done, witness),
            ]

    @staticmethod
    def _of_tokens(loot: Loot, witness: Witness) -> list[Column]:
        attempts = sum(int(end.record.get(b"attempt", 0)) for end in witness.ends.values())
        return [
            verdicts.good("tokens tried after the final result", f"{loot.tried} of {attempts}"),
            verdicts.bad("tokens accepted after the final result", loot.accepted),
        ]

    @asynccontextmanager
    async def _parts(
        self,
    ) -> AsyncIterator[tuple[FaultProxy, BrokerTap, Witness, Users, Faults]]:
        stack = self._stack
        other, other_url = await asyncio.to_thread(stack.replica)
        async with AsyncExitStack() as closing:
            proxy = await closing.enter_async_context(
                FaultProxy([stack.api_url, other_url], seed=self._seed, lease=_LEASE)
            )
            workers = [await self._worker(number, proxy.url) for number in range(self._workers)]
            witness, tap = Witness(stack.redis.url), BrokerTap(stack.redis.port, stack.seal)
            closing.push_async_callback(witness.close)
            names = (*USERS, CANARY)
            tokens = {name: await asyncio.to_thread(stack.token, name) for name in names}
            users = Users(proxy.url, tokens, self._run, witness.watched)
            closing.push_async_callback(users.close)
            faults = Faults(
                redis=stack.redis,
                issuer=stack.issuer,
                replicas=[stack.api, other],
                workers=workers,
                proxy=proxy,
                tap=tap,
                witness=witness,
                seed=self._seed,
            )
            closing.push_async_callback(faults.close)
            await faults.keep_every_write()
            watching = asyncio.create_task(witness.run())
            tapping = asyncio.create_task(tap.run())
            try:
                yield proxy, tap, witness, users, faults
            finally:
                faults.roll_call([stack.issuer, stack.api, other, *workers])
                witness.stop()
                tapping.cancel()
                await asyncio.gather(watching, tapping, return_exceptions=True)

    async def _worker(self, number: int, api_url: str) -> Part:
        """The last one builds in bubblewrap, where that works."""
        walled = number == self._workers - 1 and works_in_bubblewrap()
        settings = {
            "BATON_API_URL": api_url,
            "BATON_SANDBOX": "bubblewrap" if walled else "process",
            "BATON_SHUTDOWN_GRACE": "0.5",
            "CHAOS_RUN": str(self._run),
        }
        return await asyncio.to_thread(
            lambda: self._stack.worker(concurrency=_CONCURRENCY, **settings)
        )

    async def _rage(self, users: Users, faults: Faults) -> list[Done]:
        """All that the plan holds; returns when each fault was done and each build submitted."""
        begun = time.monotonic()

        async def at(moment: float) -> None:
            await asyncio.sleep(max(0.0, begun + moment - time.monotonic()))

        async def fault(each: Fault) -> Done:
            await at(each.at)
            done = await faults.do(each)
            done.canary = await users.submit(canary(len(self._plan.jobs) + each.number))
            return done

        async def life(job: Job) -> None:
            await at(job.at)
            await users.live(job)

        lives = [asyncio.create_task(life(job)) for job in self._plan.jobs]
        done = await asyncio.gather(*map(fault, self._plan.faults))
        over, late = await asyncio.wait(lives, timeout=_DRAIN)
        for task in late:
            task.cancel()
            users.tally.surprises.append("a user is still waiting")
        await asyncio.gather(*over)
        return done

    @staticmethod
    async def _drain(users: Users, witness: Witness) -> None:
        await _ended({each.build_id for each in users.tally.accepted}, witness, _DRAIN)

    async def _processes_left(self) -> list[str]:
        """Processes of builds, some seconds after the last of these ended."""
        end = time.monotonic() + _GONE
        while True:
            left = _of_builds(self._run)
            if not left or time.monotonic() > end:
                return left
            await asyncio.sleep(0.2)


def _of_builds(run: int) -> list[str]:
    # The workers have the mark in their environment, too, and are meant to be there.
    return [each for each in processes.marked(*_marks(run)) if "baton worker" not in each]


async def _ended(builds: set[str], witness: Witness, seconds: float) -> bool:
    """Whether all of these builds are seen to have ended within so many seconds."""
    end = time.monotonic() + seconds
    while builds - witness.ends.keys():
        if time.monotonic() > end:
            return False
        await asyncio.sleep(0.05)
    return True


def _counted(proxy: FaultProxy) -> str:
    return ", ".join(f"{n} {harm}" for harm, n in proxy.harms.most_common() if harm != "none")
