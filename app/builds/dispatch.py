"""The dispatcher turns queued builds into messages for workers, one user's turn after another's.

Any number of API processes may run a dispatcher: the store's script `take` hands each build to
exactly one of them. The dispatcher takes a build, mints its token, puts the attempt on record and
sends the message, in this order. A failure puts the build back with the reason on its record; a
dispatcher that dies in between leaves its build to the reaper.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from app.builds.errors import QueueUnavailable, SameToken, StoreUnavailable
from app.builds.model import Timers
from app.builds.pubsub import WakeUp
from app.builds.queue import BuildQueue
from app.builds.store.dispatching import Dispatching
from app.builds.store.results import Taken
from app.contract.builds import TokenFacts
from app.contract.queue import QUEUE
from app.contract.status import Reason
from app.minting import MintedToken, MintError, MintRequest, TokenMinter, TooShort
from app.observability import tracing
from app.observability.log_context import begin
from app.observability.tracing import OFF, Kind, Span, Tracing

log = logging.getLogger(__name__)

#: Builds that one process dispatches at once; minting is one round trip to the provider each.
_MAX_CONCURRENT_DISPATCHES: Final = 8
#: Seconds between polls of the queue without a wake-up: a replica's publication can be lost.
_POLL_INTERVAL: Final = 1.0
#: Seconds between two polls of an empty or full queue, however often it wakes the dispatcher: after
#: the first poll without a build, and at most after several in a row.
_EMPTY_QUEUE_INTERVAL: Final = (0.005, 0.02)
#: Seconds after which a provider writes another `iat`, and so issues another token.
_SAME_TOKEN_DELAY: Final = 1.0
#: Seconds of pause after the first and the last of several failures in a row.
_FAILURE_DELAY: Final = (1.0, 30.0)
#: The same for a build that fails for reasons of its own. Each attempt costs a token at the
#: provider, and only an operator can remove the cause.
_BUILD_FAILURE_DELAY: Final = (1.0, 900.0)
#: Seconds after a cancel in which builds that were taken are still dispatched.
DRAIN_TIMEOUT: Final = 5.0
#: Seconds between tries to record an attempt while the store is away, and the number of tries.
_RECORD_RETRY_INTERVAL: Final = 0.5
_MAX_RECORD_ATTEMPTS: Final = 4


class DispatchObserver(Protocol):
    """An observer counts what dispatch asks of the provider and the broker.

    Called from the event loop; must not block.
    """

    def minted(self, seconds: float, reason: Reason | None) -> None:
        """Note that minting took `seconds`; `reason` says why it gave no token."""
        ...

    def sent(self, seconds: float, *, confirmed: bool) -> None:
        """Note that sending took `seconds`, and whether the broker confirmed the message."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class DispatchRules:
    """The limits of dispatch."""

    provider: str  #: the kind of minter that the tokens come from, for traces
    window: int  #: messages waiting in Celery at most
    user_limit: int  #: builds of one user, dispatched or running
    hold: float  #: seconds to obtain a token and send the message, before the reaper steps in
    leeway: float  #: seconds by which clocks may disagree


class Dispatcher:
    """A dispatcher runs up to 8 dispatches at once, and pauses after failures of provider or
    broker."""

    def __init__(
        self,
        *,
        store: Dispatching,
        queue: BuildQueue,
        minter: TokenMinter,
        timers: Callable[[float], Timers],
        rules: DispatchRules,
        work: WakeUp,
        observer: DispatchObserver,
        traces: Tracing = OFF,
    ) -> None:
        self._store = store
        self._queue = queue
        self._minter = minter
        self._timers = timers
        self._rules = rules
        self._work = work
        self._observer = observer
        self._traces = traces
        self._failures = 0
        self._pause_until = 0.0

    async def run(self) -> None:
        """Dispatch until cancelled; the builds taken by then have `DRAIN_TIMEOUT` to be sent."""
        running: set[asyncio.Task[None]] = set()
        try:
            await self._dispatch_loop(running)
        finally:
            if running:
                _, late = await asyncio.wait(running, timeout=DRAIN_TIMEOUT)
                for task in late:
                    task.cancel()
                await asyncio.gather(*late, return_exceptions=True)

    async def _dispatch_loop(self, running: set[asyncio.Task[None]]) -> None:
        slots = asyncio.Semaphore(_MAX_CONCURRENT_DISPATCHES)

        def done(task: asyncio.Task[None]) -> None:
            running.discard(task)
            slots.release()

        shortest, longest = _EMPTY_QUEUE_INTERVAL
        interval = shortest
        while True:
            await slots.acquire()
            await self._pause()
            taken = await self._take()
            if taken is None:
                slots.release()
            else:
                interval = shortest
                task = asyncio.create_task(self._dispatch(taken))
                running.add(task)
                task.add_done_callback(done)
            if taken is None or not taken.more:
                await asyncio.sleep(interval)
                interval = min(longest, 2 * interval)
                await self._work.wait(_POLL_INTERVAL)

    async def _pause(self) -> None:
        """Wait while provider or broker are failing: not every build has to find that out anew."""
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
        """Dispatch one attempt, in a task of its own, as part of the trace of the build's
        submission."""
        attempt = taken.attempt + 1
        begin(build_id=taken.build_id, attempt=attempt)
        with self._traces.span(
            "dispatch",
            parent=tracing.from_json(taken.trace),
            attributes={tracing.BUILD: taken.build_id, tracing.ATTEMPT: attempt},
        ) as span:
            try:
                await self._send(taken, span)
            except StoreUnavailable as error:
                log.warning("dispatch cut off: %s", error)
                tracing.failed(span, type(error).__name__)
            except Exception as error:
                # Error boundary: an unforeseen failure of one build must not end the dispatch of
                # all others. The reaper requeues this one.
                log.exception("dispatch failed")
                tracing.record(error)
                self._note_failure(None)

    async def _send(self, taken: Taken, span: Span) -> None:
        timers = self._timers(taken.timeout)
        try:
            minted = await self._mint_token(taken, timers)
            self._check_lifetime(minted, timers)
        except MintError as error:
            tracing.failed(span, error.reason)
            await self._handle_mint_error(taken, error)
            return
        try:
            recorded = await self._record(taken, minted, timers)
        except SameToken:
            # Each attempt has a token of its own: that of a lost attempt must not be accepted for
            # the next.
            await self._store.put_back(taken, delay=_SAME_TOKEN_DELAY, reason="", message="")
            return
        if not recorded:
            return  # cancelled meanwhile, or requeued by the reaper because minting took too long
        try:
            await self._publish(taken, minted, timers)
        except QueueUnavailable as error:
            tracing.failed(span, Reason.BROKER_UNAVAILABLE)
            await self._put_back(
                taken, Reason.BROKER_UNAVAILABLE, str(error), self._note_failure(None)
            )
            return
        self._failures = 0
        log.info("dispatched")

    async def _mint_token(self, taken: Taken, timers: Timers) -> MintedToken:
        attributes = {tracing.BUILD: taken.build_id, "baton.mint.provider": self._rules.provider}
        request = MintRequest(
            user_id=taken.owner, build_id=taken.build_id, lifetime=timers.token_lifetime
        )
        begun, reason = time.perf_counter(), None
        with self._traces.span("mint", attributes=attributes) as span:
            try:
                return await self._minter.mint(request)
            except MintError as error:
                reason = error.reason
                span.set_attribute(tracing.REASON, reason)
                raise
            finally:
                self._observer.minted(time.perf_counter() - begun, reason)

    async def _publish(self, taken: Taken, minted: MintedToken, timers: Timers) -> None:
        """Send the message, in a span that is the parent of the worker's."""
        attributes = {
            tracing.BUILD: taken.build_id,
            "messaging.system": "celery",
            "messaging.destination.name": QUEUE,
            "messaging.operation.type": "send",
        }
        begun, confirmed = time.perf_counter(), True
        with self._traces.span("send", kind=Kind.PRODUCER, attributes=attributes):
            try:
                await self._queue.send(taken.build_id, minted.token, timers)
            except QueueUnavailable:
                confirmed = False
                raise
            finally:
                self._observer.sent(time.perf_counter() - begun, confirmed=confirmed)

    async def _record(self, taken: Taken, minted: MintedToken, timers: Timers) -> bool:
        """Put the attempt on record; False when the build was cancelled or requeued meanwhile.

        If the store's response is lost, the attempt may be on record without a message, and the
        build would wait until the deadline of the claim; so this is tried several times.
        """
        facts = TokenFacts.model_validate(minted.facts, from_attributes=True)
        for left in reversed(range(_MAX_RECORD_ATTEMPTS)):
            try:
                return await self._store.sent(
                    taken,
                    token_id=minted.facts.token_id,
                    facts_json=facts.model_dump_json(),
                    queue_ttl=timers.message_expires,
                )
            except StoreUnavailable:
                if not left:
                    raise
                await asyncio.sleep(_RECORD_RETRY_INTERVAL)
        return False

    def _check_lifetime(self, minted: MintedToken, timers: Timers) -> None:
        """Check the token's lifetime again, from this moment on: minting may have taken long.

        Raises `MintError`.
        """
        needed = timers.message_expires + timers.run_limit + self._rules.leeway
        left = minted.facts.expires_at - time.time()
        if left < needed:
            raise TooShort(
                f"the token lasts {left:.0f} s more, but the build may need {needed:.0f} s: raise "
                "the token lifetime at the provider, or lower the build's timeout, "
                "BATON_QUEUE_TTL or BATON_REPORT_WINDOW"
            )

    async def _handle_mint_error(self, taken: Taken, error: MintError) -> None:
        if error.final:
            log.warning("given up: %s", error, extra={"reason": error.reason})
            await self._store.give_up(taken, reason=error.reason, message=str(error))
            return
        if error.others_too:
            delay = self._note_failure(error.retry_after)
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

    def _note_failure(self, retry_after: float | None) -> float:
        """Note a failure of provider or broker; return the seconds until the next try.

        Dispatches that were under way at the first failure fail alike: these count as one failure.
        """
        now = time.monotonic()
        if now >= self._pause_until:
            self._failures += 1
        most = _FAILURE_DELAY[1]
        delay = max(_delay(_FAILURE_DELAY, self._failures - 1), min(retry_after or 0.0, 10 * most))
        self._pause_until = max(self._pause_until, now + delay)
        return delay


def _delay(bounds: tuple[float, float], failures: int) -> float:
    """Return the jittered backoff in seconds after `failures` earlier failures in a row."""
    least, most = bounds
    exact = min(most, least * 2.0 ** min(max(failures, 0), 30))
    return exact * random.uniform(0.8, 1.2)  # noqa: S311  jitter
