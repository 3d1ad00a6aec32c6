"""What is done to the parts: each fault of the plan, and what it takes until all is well again."""

import asyncio
import contextlib
import json
import os
import signal
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from app.contract import queue as wire
from app.contract.status import Status
from chaos import processes
from chaos.plan import Fault, FaultKind
from chaos.proxy import FaultProxy
from chaos.witness import BrokerTap, Witness, build_of
from tests.redis_process import RedisProcess
from tests.stack import Part

#: Messages that one fault sends again: some of the latest, some of any age.
_LATEST: Final = 8
_ANY: Final = 4
_RETRY: Final = 0.05  #: seconds


@dataclass(kw_only=True, slots=True)
class Done:
    """A fault that took place."""

    fault: Fault
    at: float  #: monotonic
    #: Builds that it hit, and in which attempt they were.
    hit: dict[str, int] = field(default_factory=dict)
    #: Seconds until a build that was submitted right after it had ended; None: never seen.
    canary: float | None = None

    def recovery(self, witness: Witness) -> float:
        """Seconds until the last of what it hit went on; infinite when something never did."""
        moments = [
            witness.went_on(build_id, attempt, self.at) for build_id, attempt in self.hit.items()
        ]
        seconds = [float("inf") if each is None else each - self.at for each in moments]
        return max([*seconds, float("inf") if self.canary is None else self.canary])


class Faults:
    """Does one fault at a time to each part; several parts may suffer at once."""

    def __init__(
        self,
        *,
        redis: RedisProcess,
        issuer: Part,
        replicas: Sequence[Part],
        workers: Sequence[Part],
        proxy: FaultProxy,
        tap: BrokerTap,
        witness: Witness,
        seed: int,
    ) -> None:
        self._redis = redis
        self._issuer = issuer
        self._replicas = replicas
        self._workers = workers
        self._proxy = proxy
        self._tap = tap
        self._witness = witness
        self._seed = seed
        self._store = Redis.from_url(redis.url, socket_timeout=5)
        self._locks: dict[str, asyncio.Lock] = {}
        #: Parts that ended although nobody had told them to.
        self.died: list[str] = []
        self._doing: dict[FaultKind, Callable[[Done], Awaitable[None]]] = {
            FaultKind.KILL_WORKER: lambda done: self._worker(done, signal.SIGKILL),
            FaultKind.STOP_WORKER: lambda done: self._worker(done, signal.SIGTERM),
            FaultKind.KILL_POOL_PROCESS: self._kill_pool_process,
            FaultKind.FREEZE_WORKER: self._freeze,
            FaultKind.KILL_API: lambda done: self._replica(done, signal.SIGKILL),
            FaultKind.RESTART_API: lambda done: self._replica(done, signal.SIGTERM),
            FaultKind.KILL_REDIS: lambda done: self._restart_redis(done, signal.SIGKILL),
            FaultKind.RESTART_REDIS: lambda done: self._restart_redis(done, signal.SIGTERM),
            FaultKind.RESTART_ISSUER: lambda done: self._restart(
                self._issuer, signal.SIGKILL, done.fault.seconds
            ),
            FaultKind.PURGE_QUEUE: self._purge,
            FaultKind.DUPLICATE_MESSAGES: self._duplicate,
            FaultKind.BLACKOUT: self._blackout,
        }

    async def close(self) -> None:
        await self._store.aclose()

    async def do(self, fault: Fault) -> Done:
        """Do it, and return when the parts that it took down have been started again."""
        done = Done(fault=fault, at=time.monotonic())
        await self._doing[fault.kind](done)
        return done

    async def keep_every_write(self) -> None:
        """Have Redis answer only what is on disk: what it confirmed survives a kill -9."""
        while True:
            try:
                await self._store.config_set("appendfsync", "always")
            except (RedisError, OSError):  # the connection of before its restart
                await asyncio.sleep(_RETRY)
            else:
                return

    def _lock(self, name: str) -> asyncio.Lock:
        return self._locks.setdefault(name, asyncio.Lock())

    # ── parts ─────────────────────────────────────────────────────────────────────────────────

    async def _restart(self, part: Part, how: signal.Signals, down: float) -> None:
        async with self._lock(part.name):
            self.roll_call([part])
            await asyncio.to_thread(part.stop, how)
            await asyncio.sleep(down)
            part.start()

    def roll_call(self, parts: Sequence[Part]) -> None:
        """Note which of these parts have ended by themselves."""
        for part in parts:
            status = part.process.poll() if part.process else None
            if status is not None:
                self.died.append(f"{part.name} ended by itself, with status {status}")

    async def _worker(self, done: Done, how: signal.Signals) -> None:
        part = self._workers[done.fault.target]
        if how is signal.SIGKILL:
            done.hit = self._witness.running_on(part.name)
        await self._restart(part, how, done.fault.seconds)

    async def _replica(self, done: Done, how: signal.Signals) -> None:
        await self._restart(self._replicas[done.fault.target], how, done.fault.seconds)

    async def _kill_pool_process(self, done: Done) -> None:
        part = self._workers[done.fault.target]
        async with self._lock(part.name):
            pool = processes.children(part.pid)
            if pool:
                victim = Random(f"{self._seed}/{done.fault.number}").choice(pool)
                running = self._witness.running_on(part.name)
                done.hit = {
                    build_id: attempt
                    for build_id, attempt in running.items()
                    if self._witness.sights[build_id][-1].worker == f"{part.name}:{victim}"
                }
                _signal([victim], signal.SIGKILL)

    async def _freeze(self, done: Done) -> None:
        """Stop the worker's clock, as a suspended virtual machine does; its builds run on."""
        part = self._workers[done.fault.target]
        async with self._lock(part.name):
            frozen = [part.pid, *processes.children(part.pid)]
            _signal(frozen, signal.SIGSTOP)
            try:
                await asyncio.sleep(done.fault.seconds)
            finally:
                _signal(frozen, signal.SIGCONT)

    async def _restart_redis(self, done: Done, how: signal.Signals) -> None:
        async with self._lock("redis"):
            await asyncio.to_thread(self._redis.stop, how)
            await asyncio.sleep(done.fault.seconds)
            await asyncio.to_thread(self._redis.start)
            await self.keep_every_write()

    async def _blackout(self, done: Done) -> None:
        async with self._lock("proxy"):
            self._proxy.blackout = True
            try:
                await asyncio.sleep(done.fault.seconds)
            finally:
                self._proxy.blackout = False

    # ── messages ──────────────────────────────────────────────────────────────────────────────

    async def _purge(self, done: Done) -> None:
        with contextlib.suppress(RedisError, OSError):  # Redis may be down just now
            pipe = self._store.pipeline(transaction=True)
            pipe.lrange(wire.QUEUE, 0, -1)
            pipe.delete(wire.QUEUE)
            purged, _ = await pipe.execute()
            for message in purged:
                build_id = build_of(json.loads(message))
                seen = self._witness.sights[build_id]
                if seen and seen[-1].status is Status.QUEUED:  # else a copy that nobody needs
                    done.hit[build_id] = seen[-1].attempt

    async def _duplicate(self, done: Done) -> None:
        """Deliver messages again: of builds that wait, that run, and that are over."""
        dice = Random(f"{self._seed}/{done.fault.number}")
        known = list(self._tap.messages.values())
        chosen = [*known[-_LATEST:], *dice.sample(known, min(_ANY, len(known)))]
        for message in chosen:
            if dice.random() < 1 / 2:  # else the same to the letter
                tag = {"delivery_tag": str(uuid.UUID(int=dice.getrandbits(128)))}
                again = {**message, "properties": {**message["properties"], **tag}}
            else:
                again = message
            with contextlib.suppress(RedisError, OSError):
                await self._store.lpush(wire.QUEUE, json.dumps(again))


def _signal(pids: Sequence[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
