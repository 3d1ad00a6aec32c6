"""`RawStdout` writes a log's bytes to stdout, and counts them for `--offset`."""

import os
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

#: Bytes for which a pipe that takes some has room (POSIX PIPE_BUF; Linux has 4096).
_ATOMIC: Final = 4096


class RawStdout:
    """A `RawStdout` counts exactly what was written, in `taken`, whenever Ctrl-C comes.

    The signal is let through while the reader is waited for, and between writes.
    """

    def __init__(self) -> None:
        self._file = sys.stdout.fileno()
        self.taken = 0

    def feed(self, data: bytes) -> None:
        """Write all of `data`. Raises `BrokenPipeError` when the reader has gone."""
        rest = memoryview(data)
        while rest:
            select.select([], [self._file], [])
            with _uninterrupted():
                written = os.write(self._file, rest[:_ATOMIC])
                self.taken += written
            rest = rest[written:]


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Hold SIGINT back until the end of the block; call from the main thread."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
