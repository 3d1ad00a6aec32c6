"""The throttle limits wrong guesses of user codes, for all clients together."""

import time
from collections import deque
from collections.abc import Callable
from typing import Final

#: Wrong guesses in a window. Of 20⁸ user codes, at most a thousand wait for a quarter of an hour
#: each: ten guesses a minute find one in five years, on average.
LIMIT: Final = 10
WINDOW: Final = 60.0  #: seconds


class Throttle:
    """A `Throttle` counts the wrong guesses of the last `window` seconds, of which `limit` are
    allowed."""

    def __init__(
        self,
        *,
        limit: int = LIMIT,
        window: float = WINDOW,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._window = window
        self._clock = clock
        self._wrong_guesses: deque[float] = deque(maxlen=limit)

    def wait(self) -> float:
        """Return the seconds until another guess is allowed; 0 for now."""
        if len(self._wrong_guesses) < (self._wrong_guesses.maxlen or 0):
            return 0.0
        return max(0.0, self._wrong_guesses[0] + self._window - self._clock())

    def count_wrong(self) -> None:
        """Count a wrong guess."""
        self._wrong_guesses.append(self._clock())
