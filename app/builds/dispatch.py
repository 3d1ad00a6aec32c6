"""The dispatcher: turns queued builds into messages, one user's turn after another's.

Any number of API processes may run one; the store's script decides who takes which build. The order
for each build: take it, mint its token, put the attempt on record, send the message. Whatever fails
puts the build back with the reason on its record; what dies in between is found by the reaper.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from app.builds.errors import MintFailed, QueueUnavailable, SameToken, StoreUnavailable
from app.builds.model import Ticket, Timers
from app.builds.pubsub import WakeUp
from app.builds.queue import BuildQueue
from app.builds.store.dispatching import Dispatching
from app.builds.store.results import Taken
from app.contract.queue import QUEUE
from app.contract.status import Reason
from app.observability import tracing
from app.observability.log_context import begin
from app.observability.tracing import OFF, Kind, Span, Tracing

log = logging.getLogger(__name__)

#: Builds that one process dispatches at once; minting is one round trip to the provider each.
_MAX_CONCURRENT_DISPATCHES: Final = 8
#: Seconds between looks at the queue when nothing is heard: other replicas' news can be lost.
_POLL_INTERVAL: Final = 1.0
#: Seconds between looks at an empty or full queue, however often it is woken: after the first that
#: found nothing, and after the last of several in a row.
_EMPTY_QUEUE_INTERVAL: Final = (0.005, 0.02)
#: Seconds after which a provider's `iat`, and so its token, is another.
_SAME_TOKEN_DELAY: Final = 1.0
#: Seconds of pause after the first and the last of several failures in a row.
_FAILURE_DELAY: Final = (1.0, 30.0)
#: The same for a build that fails for reasons of its own. Each try costs a token at the provider,
#: and only an operator can change what comes of it.
_BUILD_FAILURE_DELAY: Final = (1.0, 900.0)
#: Seconds in which what was taken is seen through after the order to stop.
DRAIN_TIMEOUT: Final = 5.0
#: Seconds between tries to record an attempt while the store is away, and how many there are.
_RECORD_RETRY_INTERVAL: Final = 0.5
_MAX_RECORD_ATTEMPTS: Final = 4


class Mint(Protocol):
    """Obtains a build token that lasts at least `lifetime` seconds. Raises `MintFailed`."""

    async def __call__(self, *, user_id: str, build_id: str, lifetime: float) -> Ticket: ...


class DispatchObserver(Protocol):
    """Hears of what dispatch does outside of this process; called from the event loop."""

    def minted(self, seconds: float, reason: Reason | None) -> None:
        """A token came after so many seconds, or none for a reason."""
        ...

    def sent(self, seconds: float, *, confirmed: bool) -> None:
        """The broker confirmed a message after so many seconds, or did not."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class DispatchRules:
    provider: str  #: the kind of minter that the tokens come from, for traces
    window: int  #: messages waiting in Celery at most
    user_limit: int  #: builds of one user, dispatched or running
    hold: float  #: seconds to get a token and send the message
    leeway: float  #: seconds by which clocks may disagree


class Dispatcher:
    def __init__(
        self,
        *,
        store: Dispatching,
        queue: BuildQueue,
        mint: Mint,
        timers: Callable[[float], Timers],
        rules: DispatchRules,
        work: WakeUp,
        observer: DispatchObserver,
        traces: Tracing = OFF,
    ) -> None:
        self._store = store
        self._queue = queue
        self._mint = mint
        self._timers = timers
        self._rules = rules
        self._work = work
        self._observer = observer
        self._traces = traces
        self._failures = 0
        self._pause_until = 0.0

    async def run(self) -> None:
        """Dispatch until cancelled; what was taken by then is seen through, for some seconds."""
        running: set[asyncio.Task[None]] = set()
        try:
            await self._run(running)
        finally:
            if running:
                _, late = await asyncio.wait(running, timeout=DRAIN_TIMEOUT)
                for task in late:
                    task.cancel()
                await asyncio.gather(*late, return_exceptions=True)

    async def _run(self, running: set[asyncio.Task[None]]) -> None:
        slots = asyncio.Semaphore(_MAX_CONCURRENT_DISPATCHES)

        def done(task: asyncio.Task[None]) -> None:
            running.discard(task)
            slots.release()

        least, most = _EMPTY_QUEUE_INTERVAL
        breath = least
        while True:
            await slots.acquire()
            await self._pause()
            taken = await self._take()
            if taken is None:
                slots.release()
            else:
                breath = least
                task = asyncio.create_task(self._dispatch(taken))
                running.add(task)
                task.add_done_callback(done)
            if taken is None or not taken.more:
                await asyncio.sleep(breath)
                breath = min(most, 2 * breath)
                await self._work.wait(_POLL_INTERVAL)

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
            return None

    async def _dispatch(self, taken: Taken) -> None:
        """One attempt, in a task of its own: part of the trace that the build was submitted in."""
        attempt = taken.attempt + 1
        begin(build_id=taken.build_id, attempt=attempt)
        with self._traces.span(
            "dispatch",
            parent=tracing.read(taken.trace),
            attributes={tracing.BUILD: taken.build_id, tracing.ATTEMPT: attempt},
        ) as span:
            try:
                await self._send(taken, span)
            except StoreUnavailable as error:
                log.warning("dispatch cut off: %s", error)
                tracing.failed(span, type(error).__name__)
            except Exception as error:
                # Error boundary: one build's surprise must not end the dispatch of all. The reaper
                # has it.
                log.exception("dispatch failed")
                tracing.record(error)
                self._failed(None)

    async def _send(self, taken: Taken, span: Span) -> None:
        timers = self._timers(taken.timeout)
        try:
            ticket = await self._minted(taken, timers)
            self._check_lifetime(ticket, timers)
        except MintFailed as error:
            tracing.failed(span, error.reason)
            await self._refused(taken, error)
            return
        try:
            wanted = await self._record(taken, ticket, timers)
        except SameToken:
            # Each attempt has a token of its own: a lost one's must not do for the next.
            await self._store.put_back(taken, delay=_SAME_TOKEN_DELAY, reason="", message="")
            return
        if not wanted:
            return  # cancelled meanwhile, or this took so long that the reaper took it back
        try:
            await self._publish(taken, ticket, timers)
        except QueueUnavailable as error:
            tracing.failed(span, Reason.BROKER_UNAVAILABLE)
            await self._put_back(taken, Reason.BROKER_UNAVAILABLE, str(error), self._failed(None))
            return
        self._failures = 0
        log.info("dispatched")

    async def _minted(self, taken: Taken, timers: Timers) -> Ticket:
        attributes = {tracing.BUILD: taken.build_id, "baton.mint.provider": self._rules.provider}
        begun, reason = time.perf_counter(), None
        with self._traces.span("mint", attributes=attributes) as span:
            try:
                return await self._mint(
                    user_id=taken.owner, build_id=taken.build_id, lifetime=timers.token_lifetime
                )
            except MintFailed as error:
                reason = error.reason
                span.set_attribute(tracing.REASON, reason)
                raise
            finally:
                self._observer.minted(time.perf_counter() - begun, reason)

    async def _publish(self, taken: Taken, ticket: Ticket, timers: Timers) -> None:
        """Send the message, in a span that the worker's come below."""
        attributes = {
            tracing.BUILD: taken.build_id,
            "messaging.system": "celery",
            "messaging.destination.name": QUEUE,
            "messaging.operation.type": "send",
        }
        begun, confirmed = time.perf_counter(), True
        with self._traces.span("send", kind=Kind.PRODUCER, attributes=attributes):
            try:
                await self._queue.send(taken.build_id, ticket.token, timers)
            except QueueUnavailable:
                confirmed = False
                raise
            finally:
                self._observer.sent(time.perf_counter() - begun, confirmed=confirmed)

    async def _record(self, taken: Taken, ticket: Ticket, timers: Timers) -> bool:
        """Put the attempt on record; False when it is not wanted any more.

        An answer of the store that is lost here would leave a build without a message for as long
        as messages may wait, so this is tried several times.
        """
        for left in reversed(range(_MAX_RECORD_ATTEMPTS)):
            try:
                return await self._store.sent(
                    taken,
                    token_id=ticket.token_id,
                    facts_json=ticket.facts.model_dump_json(),
                    queue_ttl=timers.message_expires,
                )
            except StoreUnavailable:
                if not left:
                    raise
                await asyncio.sleep(_RECORD_RETRY_INTERVAL)
        return False

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
                others_too=False,
            )

    async def _refused(self, taken: Taken, error: MintFailed) -> None:
        if error.final:
            log.warning("given up: %s", error, extra={"reason": error.reason})
            await self._store.give_up(taken, reason=error.reason, message=str(error))
            return
        if error.others_too:
            delay = self._failed(error.retry_after)
        else:
            delay = _delay(_BUILD_FAILURE_DELAY, taken.failures)
        await self._put_back(taken, error.reason, str(error), delay)

    async def _put_back(self, taken: Taken, reason: Reason, message: str, delay: float) -> None:
        log.warning(
            "not dispatched, trying again in %.0f s: %s",
            delay,
            message,
            extra={"reason": reason},
        )
        await self._store.put_back(taken, delay=delay, reason=reason, message=message)

    def _failed(self, retry_after: float | None) -> float:
        """Note a failure; returns the seconds until the next try.

        Builds that were under way when the first failed find the same: that is one failure.
        """
        now = time.monotonic()
        if now >= self._pause_until:
            self._failures += 1
        most = _FAILURE_DELAY[1]
        delay = max(_delay(_FAILURE_DELAY, self._failures - 1), min(retry_after or 0.0, 10 * most))
        self._pause_until = max(self._pause_until, now + delay)
        return delay


def _delay(bounds: tuple[float, float], failures: int) -> float:
    """Seconds to wait after so many failures before this one."""
    least, most = bounds
    exact = min(most, least * 2.0 ** min(max(failures, 0), 30))
    return exact * random.uniform(0.8, 1.2)  # noqa: S311  jitter
