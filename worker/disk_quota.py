"""`DiskQuota` measures what a build has on the worker's disk, and ends it above a limit."""

import os
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from worker.errors import QuotaExceeded

_MIN_SCAN_INTERVAL: Final = 1.0  #: seconds from the start of a scan to the start of the next
_SCAN_TIME_DIVISOR: Final = 10  #: scans take this fraction of the time at most

_BLOCK_BYTES: Final = 512  #: bytes, of `st_blocks` (stat(2))


@dataclass(frozen=True, kw_only=True, slots=True)
class DiskLimits:
    """What a build may have in its workspace at once."""

    disk_bytes: int
    files: int  #: directories included


class DiskQuota:
    """A `DiskQuota` scans one workspace, at most as often as `_MIN_SCAN_INTERVAL` allows."""

    def __init__(self, root: Path, limits: DiskLimits) -> None:
        self._root = root
        self._limits = limits
        self._next = 0.0

    def check(self) -> None:
        """Scan the workspace, unless it is too early to. Raises `QuotaExceeded` over a limit."""
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
    """Count the bytes on disk and the entries below `root`; stop when one is over its limit.

    Links are not followed, and a file with several names counts once. What vanishes meanwhile or
    cannot be entered is left out: where the worker is not root, its builds are the same user, and
    cannot enter it either.
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
