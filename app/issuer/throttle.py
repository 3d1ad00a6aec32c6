"""A limit to wrong guesses, whoever makes them."""

import time
from collections import deque
from collections.abc import Callable
from typing import Final

#: Of 20⁸ user codes, of which at most a thousand wait for a quarter of an hour each, ten tries a
#: minute find one in five years, on average.
LIMIT: Final = 10
WINDOW: Final = 60.0


class Throttle:
    """Counts the wrong guesses of the last `window` seconds, of which there may be `limit`."""

    def __init__(
        self,
        *,
        limit: int = LIMIT,
        window: float = WINDOW,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._window = window
        self._clock = clock
        self._made: deque[float] = deque(maxlen=limit)

    def wait(self) -> float:
        """Seconds until another guess may be made; 0: now."""
        if len(self._made) < (self._made.maxlen or 0):
            return 0.0
        return max(0.0, self._made[0] + self._window - self._clock())

    def wrong(self) -> None:
        """One was wrong."""
        self._made.append(self._clock())
