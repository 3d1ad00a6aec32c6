"""The reaper: sees to it that every build ends, and that what ended long ago goes.

Any number of API processes may run one; the store's script hands each expiry to exactly one.
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
    lease: float  #: seconds
    max_attempts: int
    max_wait: float  #: seconds that a build may wait to be begun
    retention: float  #: seconds for which an ended build is kept


class Reaper:
    """Requeues or ends what is overdue, several times within each lease.

    While the store or this API was away, workers could not renew their leases although they live:
    at its start, after each outage of the store, and when more than a third of a lease went by
    between two looks (the store or this process was frozen), the reaper holds off for one lease.
    """

    def __init__(self, store: Dispatching, rules: ReaperRules) -> None:
        self._store = store
        self._rules = rules
        self._interval = min(1.0, rules.lease / 8)
        self._hold_until = 0.0
        self._looked_at: float | None = None  #: by the store's clock

    async def run(self) -> None:
        """Look for what is overdue, until cancelled."""
        self._hold_off()
        while True:
            try:
                await self._once()
            except StoreUnavailable as error:
                log.warning("the reaper waits: %s", error)
                self._hold_off()
            await asyncio.sleep(self._interval)

    def _hold_off(self) -> None:
        self._hold_until = time.monotonic() + self._rules.lease

    async def _once(self) -> None:
        hold = time.monotonic() < self._hold_until
        last = self._looked_at
        expired = await self._store.expire(
            hold=hold,
            max_attempts=self._rules.max_attempts,
            max_wait=self._rules.max_wait,
            retention=self._rules.retention,
            not_after=None if last is None else last + self._rules.lease / 3,
        )
        self._looked_at = expired.at
        if expired.held and not hold:
            log.warning("the reaper waits: it comes late, and workers may not have been heard")
            self._hold_off()
        for what, build_id in expired.done:
            with bound(build_id=build_id):
                log.warning("overdue: %s", what)
