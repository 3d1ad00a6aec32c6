"""SIGTERM: let running builds end within a grace, then hand them back; a second one kills at once.

Celery's main process hears the signal; the pool's processes, where builds run, hear of it through
memory that they share since their fork.
"""

import os
import signal
import time
from collections.abc import Callable
from multiprocessing.sharedctypes import RawValue
from types import FrameType


class Shutdown:
    """When builds have to be handed back; made before the pool is."""

    def __init__(self, grace: float, say: Callable[[str], None]) -> None:
        """`grace`: seconds that running builds may go on after the first signal; `say` logs a
        sentence, in a signal handler, too."""
        self._grace = grace
        self._say = say
        # A moment of the monotonic clock, which is the same for all processes; 0 for "not yet".
        self._at = RawValue("d", 0.0)

    def begin(self) -> None:
        """The worker was told to stop: take no new build, and end the running ones in time."""
        self._at.value = time.monotonic() + self._grace
        signal.signal(signal.SIGTERM, self._kill)
        self._say(f"stopping: running builds are handed back in {self._grace:g} s")

    @property
    def begun(self) -> bool:
        return bool(self._at.value)

    @property
    def due(self) -> bool:
        """Whether the grace is over."""
        return self.begun and time.monotonic() >= self._at.value

    def _kill(self, _: int, __: FrameType | None) -> None:
        """The pool's processes die with this one, and the builds with them."""
        self._say(
            "told to stop twice: ending at once; the builds start again when their leases run out"
        )
        os._exit(128 + signal.SIGTERM)
