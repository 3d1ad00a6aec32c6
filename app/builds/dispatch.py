"""The dispatcher: turns queued builds into messages, one user's turn after another's.

Any number of API processes may run one; the store's script decides who takes which build. The order
for each build: take it, mint its token, put the attempt on record, send the message. Whatever fails
puts the build back with the reason on its record; what dies in between is found by the watch.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from app.builds.changes import Bell
from app.builds.errors import MintFailed, QueueUnavailable, StoreUnavailable
from app.builds.model import Ticket, Timers, log_context
from app.builds.queue import BuildQueue
from app.builds.store import BuildStore
from app.builds.store.redis import Taken
from app.contract.status import Reason

log = logging.getLogger(__name__)

#: Builds that one process dispatches at once; minting is one round trip to the provider each.
_PARALLEL: Final = 8
#: Seconds between looks at the queue when nothing rings: other replicas' news can be lost.
_IDLE: Final = 1.0
#: Seconds between looks at an empty or full queue, however often it rings.
_BREATH: Final = 0.02
#: Seconds of pause after the first and the last of several failures in a row.
_PAUSE: Final = (1.0, 30.0)


class Mint(Protocol):
    """Obtains a build token that lasts at least `lifetime` seconds. Raises `MintFailed`."""

    async def __call__(self, *, user_id: str, build_id: str, lifetime: float) -> Ticket: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class DispatchRules:
    window: int  #: messages waiting in Celery at most
    user_limit: int  #: builds of one user, dispatched or running
    hold: float  #: seconds to get a token and send the message
    leeway: float  #: seconds by which clocks may disagree


class Dispatcher:
    def __init__(
        self,
        *,
        store: BuildStore,
        queue: BuildQueue,
        mint: Mint,
        timers: Callable[[float], Timers],
        rules: DispatchRules,
        work: Bell,
    ) -> None:
        self._store = store
        self._queue = queue
        self._mint = mint
        self._timers = timers
        self._rules = rules
        self._work = work
        self._failures = 0
        self._pause_until = 0.0

    async def run(self) -> None:
        """Dispatch until cancelled; what was taken by then is seen through."""
        async with asyncio.TaskGroup() as group:
            slots = asyncio.Semaphore(_PARALLEL)
            while True:
                await self._pause()
                await slots.acquire()
                taken = await self._take()
                if taken is None:
                    slots.release()
                    await asyncio.sleep(_BREATH)
                    await self._work.wait(_IDLE)
                    continue
                task = group.create_task(self._dispatch(taken))
                task.add_done_callback(lambda _: slots.release())

    async def _pause(self) -> None:
        """After failures of the provider or the broker: not every build has to find out anew."""
        left = self._pause_until - time.monotonic()
        if left > 0:
            await asyncio.sleep(left)

    async def _take(self) -> Taken | None:
        rules = self._rules
        try:
            return await self._store.take(
                window=rules.window, limit=rules.user_limit, hold=rules.hold
            )
        except StoreUnavailable as error:
            log.warning("dispatch waits: %s", error)
            self._failed(None)
            return None

    async def _dispatch(self, taken: Taken) -> None:
        try:
            await self._send(taken)
        except StoreUnavailable as error:
            log.warning("dispatch cut off: %s", error, extra=log_context(taken.build_id))
        except Exception:
            # A door: one build's surprise must not end the dispatch of all. The watch has it.
            log.exception("dispatch failed", extra=log_context(taken.build_id))
            self._failed(None)

    async def _send(self, taken: Taken) -> None:
        timers = self._timers(taken.timeout)
        try:
            ticket = await self._mint(
                user_id=taken.owner, build_id=taken.build_id, lifetime=timers.token_lifetime
            )
            self._check_lifetime(ticket, timers)
        except MintFailed as error:
            await self._put_back(taken, taken.attempt, error.reason, str(error), error.retry_after)
            return
        wanted = await self._store.sent(
            taken,
            token_id=ticket.token_id,
            facts_json=ticket.facts.model_dump_json(),
            queue_ttl=timers.message_expires,
        )
        if not wanted:
            return  # cancelled meanwhile, or this took so long that the watch took it back
        try:
            await self._queue.send(taken.build_id, ticket.token, timers)
        except QueueUnavailable as error:
            await self._put_back(
                taken, taken.attempt + 1, Reason.BROKER_UNAVAILABLE, str(error), None
            )
            return
        self._failures = 0
        log.info("dispatched", extra=log_context(taken.build_id, attempt=taken.attempt + 1))

    def _check_lifetime(self, ticket: Ticket, timers: Timers) -> None:
        """The sum once more, from this very moment: minting may have taken long."""
        needed = timers.message_expires + timers.run_limit + self._rules.leeway
        left = ticket.facts.expires_at.timestamp() - time.time()
        if left < needed:
            raise MintFailed(
                Reason.TOKEN_REFUSED,
                f"the token lasts {left:.0f} s more, but the build may need {needed:.0f} s: raise "
                "the token lifetime at the provider, or lower the build's timeout, "
                "BATON_QUEUE_TTL or BATON_REPORT_WINDOW",
            )

    async def _put_back(
        self, taken: Taken, attempt: int, reason: Reason, message: str, retry_after: float | None
    ) -> None:
        delay = self._failed(retry_after)
        log.warning(
            "not dispatched, trying again in %.0f s: %s",
            delay,
            message,
            extra=log_context(taken.build_id, reason=reason),
        )
        await self._store.put_back(
            taken.build_id, attempt=attempt, delay=delay, reason=reason, message=message
        )

    def _failed(self, retry_after: float | None) -> float:
        """Note a failure; returns the seconds until the next try."""
        least, most = _PAUSE
        delay = min(most, least * 2.0**self._failures) * random.uniform(0.8, 1.2)  # noqa: S311  jitter
        delay = max(delay, min(retry_after or 0.0, 10 * most))
        self._failures = min(self._failures + 1, 10)
        self._pause_until = time.monotonic() + delay
        return delay
