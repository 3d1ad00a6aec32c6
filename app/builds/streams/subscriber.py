"""A subscriber waits for news, for the end of a quiet interval, or for its expiry."""

import asyncio
import time
from typing import Self


class Subscriber:
    """A `Subscriber` waits with one timer for all its life.

    With a thousand subscribers of one log, a timer for each wait would be a quarter of the work.
    """

    def __init__(self, *, until: float, quiet_interval: float) -> None:
        """`until`: when the subscriber expires, in seconds since 1970; `quiet_interval`: in
        seconds."""
        self._until = until
        self._quiet_interval = quiet_interval
        self._loop = asyncio.get_running_loop()
        self._news = False
        self._waiter: asyncio.Future[bool] | None = None
        self._last_news_at = self._loop.time()
        self._start_timer()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    @property
    def expired(self) -> bool:
        return time.time() >= self._until

    def notify(self, now: float) -> None:
        """Wake the subscriber: there is news, at the event loop's time `now`."""
        self._news = True
        self._last_news_at = now
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(True)

    def clear(self) -> None:
        """Forget the news so far, which the caller reads next."""
        self._news = False

    def wait(self) -> asyncio.Future[bool]:
        """Return a future that is True at the next news, and False after a quiet interval or at the
        expiry."""
        waiter = self._waiter = self._loop.create_future()
        if self._news:
            waiter.set_result(True)
        return waiter

    def _start_timer(self) -> None:
        quiet_left = self._last_news_at + self._quiet_interval - self._loop.time()
        # While a subscriber whose time is over is still sending, the timer goes on at intervals.
        left = max(self._until - time.time(), 0.0) or self._quiet_interval
        self._timer = self._loop.call_later(max(0.0, min(quiet_left, left)), self._on_timer)

    def _on_timer(self) -> None:
        now = self._loop.time()
        if self.expired or now >= self._last_news_at + self._quiet_interval:
            self._last_news_at = now
            if self._waiter is not None and not self._waiter.done():
                self._waiter.set_result(False)
        self._start_timer()
