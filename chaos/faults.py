"""What is done to the parts: each fault of the plan, and what it takes until all is well again."""

import asyncio
import contextlib
import json
import os
import re
import signal
import time
import uuid
from collections import defaultdict
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
from tests.support.servers.redis_process import RedisProcess
from tests.support.stack import Part

#: Messages that one fault sends again: some of the latest, some of any age.
_LATEST: Final = 8
_ANY: Final = 4
_RETRY: Final = 0.05  #: seconds
_START: Final = 60.0  #: seconds in which a part that was started again has to work
_STOP: Final = 15.0  #: seconds in which a part that was told to stop has to
_FIRST_LOOK: Final = 1.0
_WORKS: Final = re.compile(r"ready\.|listening on")


@dataclass(kw_only=True, slots=True)
class Done:
    """A fault that took place."""

    fault: Fault
    at: float  #: monotonic
    #: Builds that it hit, and in which attempt they were.
    hit: dict[str, int] = field(default_factory=dict)
    canary: str = ""  #: the build that was submitted right after it

    def recovery(self, witness: Witness) -> float:
        """Seconds until the canary had ended, and the last of what was hit went on; infinite when
        something never did."""
        moments = [
            witness.ended_at(self.canary),
            *(witness.went_on(each, attempt, self.at) for each, attempt in self.hit.items()),
        ]
        return max(float("inf") if each is None else each - self.at for each in moments)


class Faults:
    """Does one fault at a time to each part; several parts may suffer at once.

    A part that was started again is left in peace until it works: on a slow machine, there would
    be nothing but parts that start.
    """

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
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        #: Parts that ended although nobody had told them to, or did not although told; in words.
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
        """Do it, and return when what it took down works again."""
        async with self._locks[self._victim(fault)]:
            done = Done(fault=fault, at=time.monotonic())
            await self._doing[fault.kind](done)
        return done

    def _victim(self, fault: Fault) -> str:
        """What may suffer one fault at a time."""
        match fault.kind:
            case FaultKind.KILL_API | FaultKind.RESTART_API:
                return self._replicas[fault.target].name
            case FaultKind.KILL_REDIS | FaultKind.RESTART_REDIS:
                return "redis"
            case FaultKind.RESTART_ISSUER:
                return "issuer"
            case FaultKind.PURGE_QUEUE | FaultKind.DUPLICATE_MESSAGES:
                return "queue"
            case FaultKind.BLACKOUT:
                return "proxy"
            case _:
                return self._workers[fault.target].name

    async def keep_every_write(self) -> None:
        """Have Redis answer only what is on disk: what it confirmed survives a kill -9."""
        while True:
            try:
                await self._store.config_set("appendfsync", "always")
            except (RedisError, OSError):  # the connection of before its restart
                await asyncio.sleep(_RETRY)
            else:
                return

    # ── parts ─────────────────────────────────────────────────────────────────────────────────

    async def _restart(self, part: Part, how: signal.Signals, down: float) -> None:
        self.roll_call([part])
        told = time.monotonic()
        await asyncio.to_thread(part.stop, how)
        if time.monotonic() - told > _STOP:
            self.died.append(f"{part.name} did not stop within {_STOP:g} s of signal {how}")
        await asyncio.sleep(down)
        said = len(part.output())
        part.start()
        end = time.monotonic() + _START
        while True:
            if _WORKS.search(part.output(), said):
                break
            if time.monotonic() > end:
                self.died.append(f"{part.name} does not work {_START:g} s after its start")
                break
            await asyncio.sleep(_RETRY)
        # Celery gives up when a pool process dies before the first look at the queue.
        await asyncio.sleep(_FIRST_LOOK)

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
        pool = processes.children(part.pid)
        if pool:
            victim = Random(f"{self._seed}/{done.fault.number}").choice(pool)
            done.hit = self._witness.running_on(part.name, victim)
            _signal([victim], signal.SIGKILL)

    async def _freeze(self, done: Done) -> None:
        """Stop the worker's clock, as a suspended virtual machine does; its builds run on."""
        part = self._workers[done.fault.target]
        frozen = [part.pid, *processes.children(part.pid)]
        _signal(frozen, signal.SIGSTOP)
        try:
            await asyncio.sleep(done.fault.seconds)
        finally:
            _signal(frozen, signal.SIGCONT)

    async def _restart_redis(self, done: Done, how: signal.Signals) -> None:
        await asyncio.to_thread(self._redis.stop, how)
        await asyncio.sleep(done.fault.seconds)
        await asyncio.to_thread(self._redis.start)
        await self.keep_every_write()

    async def _blackout(self, done: Done) -> None:
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
