"""Processes as /proc shows them (proc(5))."""

import contextlib
import os
from pathlib import Path


def children(pid: int) -> list[int]:
    """The direct children of a process; none when it is gone."""
    with contextlib.suppress(OSError):
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def memory(pid: int) -> int:
    """Resident bytes; 0 when the process is gone."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    return 0


def marked(*marks: str) -> list[str]:
    """`pid command` of each process, zombies aside, that has one of the marks in its command line
    or, where we may read it, in its environment."""
    found = []
    for process in Path("/proc").iterdir():
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        command = _read(process / "cmdline")
        known = command + " " + _read(process / "environ")
        if command and any(mark in known for mark in marks):
            found.append(f"{process.name} {command.strip()}")
    return sorted(found)


def _read(file: Path) -> str:
    try:
        return file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:  # gone, or not ours
        return ""
