"""`Shutdown` gives running builds a grace after SIGTERM; a second SIGTERM kills at once.

Celery's main process gets the signal; the pool's processes, where builds run, read its time from
memory that they share since their fork.
"""

import os
import signal
import time
from collections.abc import Callable
from multiprocessing.sharedctypes import RawValue
from types import FrameType


class Shutdown:
    """A `Shutdown` says when builds have to be handed back.

    It is made before the pool forks; `begin` runs in the main process, the rest in the pool's.
    """

    def __init__(self, grace: float, say: Callable[[str], None]) -> None:
        """Allow running builds `grace` seconds after the first signal.

        `say` logs a sentence and must be safe in a signal handler.
        """
        self._grace = grace
        self._say = say
        # Seconds of the monotonic clock, which all processes share; 0 for "not yet".
        self._at = RawValue("d", 0.0)

    def begin(self) -> None:
        """Start the grace, on the first SIGTERM; the next SIGTERM ends this process."""
        self._at.value = time.monotonic() + self._grace
        signal.signal(signal.SIGTERM, self._kill)
        self._say(f"stopping: running builds are handed back in {self._grace:g} s")

    @property
    def begun(self) -> bool:
        """Whether the worker was told to stop."""
        return bool(self._at.value)

    @property
    def due(self) -> bool:
        """Whether the grace is over, and builds have to be handed back now."""
        return self.begun and time.monotonic() >= self._at.value

    def _kill(self, _: int, __: FrameType | None) -> None:
        """End this process; the pool's processes and their builds die with it."""
        self._say(
            "told to stop twice: ending at once; the builds start again when their leases run out"
        )
        os._exit(128 + signal.SIGTERM)
