"""The reaper makes sure that every build ends, and deletes builds that ended long ago.

Any number of API processes may run one; the store's script `expire` hands each overdue build to
exactly one of them.
"""

import asyncio
import logging
import time
from dataclasses import dataclass

from app.builds.errors import StoreUnavailable
from app.builds.store.dispatching import Dispatching
from app.observability.log_context import bound

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class ReaperRules:
    """The deadlines after which the reaper acts."""

    lease: float  #: seconds
    max_attempts: int  #: lost leases after which a build ends
    max_wait: float  #: seconds that a build may wait for its worker
    retention: float  #: seconds for which an ended build is kept


class Reaper:
    """The reaper requeues or ends overdue builds, at least 8 times within each lease.

    Living workers cannot renew their leases while the store or this API is away. So the reaper
    holds off for one lease: at its start, after each outage of the store, and when more than a
    third of a lease passed between two runs, as then the store or this process was frozen.
    """

    def __init__(self, store: Dispatching, rules: ReaperRules) -> None:
        self._store = store
        self._rules = rules
        self._interval = min(1.0, rules.lease / 8)
        self._hold_until = 0.0
        self._last_run_at: float | None = None  #: seconds since 1970 by the store's clock

    async def run(self) -> None:
        """Handle overdue builds, until cancelled."""
        self._hold_off()
        while True:
            try:
                await self._sweep()
            except StoreUnavailable as error:
                log.warning("the reaper waits: %s", error)
                self._hold_off()
            await asyncio.sleep(self._interval)

    def _hold_off(self) -> None:
        self._hold_until = time.monotonic() + self._rules.lease

    async def _sweep(self) -> None:
        hold = time.monotonic() < self._hold_until
        last = self._last_run_at
        expired = await self._store.expire(
            hold=hold,
            max_attempts=self._rules.max_attempts,
            max_wait=self._rules.max_wait,
            retention=self._rules.retention,
            not_after=None if last is None else last + self._rules.lease / 3,
        )
        self._last_run_at = expired.at
        if expired.held and not hold:
            log.warning("the reaper waits: it comes late, and workers may not have been heard")
            self._hold_off()
        for what, build_id in expired.done:
            with bound(build_id=build_id):
                log.warning("overdue: %s", what)
