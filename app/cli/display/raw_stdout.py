"""Bytes to stdout as they are, counted so that somebody else can go on from there."""

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
    """`taken` is exact at any time: Ctrl-C comes while it waits for a reader, or between writes."""

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
    """SIGINT waits for the end of the block."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
