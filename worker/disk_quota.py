"""How much a build has put on the worker's disk, and when that is too much."""

import os
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from worker.errors import QuotaExceeded

#: Seconds between two looks at least; and looking takes a tenth of the time at most.
_MIN_SCAN_INTERVAL: Final = 1.0
_SCAN_TIME_DIVISOR: Final = 10

_BLOCK_BYTES: Final = 512  #: bytes, of `st_blocks` (stat(2))


@dataclass(frozen=True, kw_only=True, slots=True)
class DiskLimits:
    disk_bytes: int
    files: int


class DiskQuota:
    """Looks at one workspace as often as it may, when asked."""

    def __init__(self, root: Path, limits: DiskLimits) -> None:
        self._root = root
        self._limits = limits
        self._next = 0.0

    def check(self) -> None:
        """Raises `QuotaExceeded` when the workspace was found to be over a limit."""
        begun = time.monotonic()
        if begun < self._next:
            return
        used, files = measure(self._root, self._limits)
        self._next = begun + max(
            _MIN_SCAN_INTERVAL, _SCAN_TIME_DIVISOR * (time.monotonic() - begun)
        )
        if used > self._limits.disk_bytes:
            raise QuotaExceeded(f"more than {self._limits.disk_bytes} bytes on disk")
        if files > self._limits.files:
            raise QuotaExceeded(f"more than {self._limits.files} files")


def measure(root: Path, limits: DiskLimits) -> tuple[int, int]:
    """Bytes on disk and entries below `root`, counted until one is over its limit.

    Links are not followed, and a file with several names counts once. What changes or cannot be
    entered meanwhile is left out: what a worker who is not root may not read, nor may its builds,
    who are the same user.
    """
    used = files = 0
    known: set[int] = set()
    folders = [os.fspath(root)]
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    found = entry.stat(follow_symlinks=False)
                    files += 1
                    if stat.S_ISDIR(found.st_mode):
                        folders.append(entry.path)
                    elif found.st_nlink > 1:
                        if found.st_ino in known:
                            continue
                        known.add(found.st_ino)
                    used += found.st_blocks * _BLOCK_BYTES
                    if used > limits.disk_bytes or files > limits.files:
                        return used, files
        except OSError:
            continue
    return used, files
