"""One follower's waiting: for news, or for the end of its patience or of its time."""

import asyncio
import time
from typing import Self


class Subscriber:
    """Waits with one timer for all its life: with a thousand followers of one log, a timer for each
    wait would be a quarter of the work."""

    def __init__(self, *, until: float, patience: float) -> None:
        """`until`: the end of its time, in seconds since 1970; `patience`: seconds."""
        self._until = until
        self._patience = patience
        self._loop = asyncio.get_running_loop()
        self._news = False
        self._waiter: asyncio.Future[bool] | None = None
        self._heard = self._loop.time()
        self._arm()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    @property
    def expired(self) -> bool:
        return time.time() >= self._until

    def tell(self, now: float) -> None:
        """There is news, at this time of the loop."""
        self._news = True
        self._heard = now
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(True)

    def clear(self) -> None:
        """What was told until now is about to be looked at."""
        self._news = False

    def wait(self) -> asyncio.Future[bool]:
        """True at the next news, False when there were none for as long as the patience lasts, or
        at the end of the time."""
        waiter = self._waiter = self._loop.create_future()
        if self._news:
            waiter.set_result(True)
        return waiter

    def _arm(self) -> None:
        patient = self._heard + self._patience - self._loop.time()
        # Once the time is over there is nothing more to wait for, but for whoever still sends.
        left = max(self._until - time.time(), 0.0) or self._patience
        self._timer = self._loop.call_later(max(0.0, min(patient, left)), self._time_out)

    def _time_out(self) -> None:
        now = self._loop.time()
        if self.expired or now >= self._heard + self._patience:
            self._heard = now
            if self._waiter is not None and not self._waiter.done():
                self._waiter.set_result(False)
        self._arm()
