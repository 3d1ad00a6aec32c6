"""These functions find the descendants of a process in /proc, and signal all of them.

Each works on a snapshot: a process may fork or end while it is taken. For a pid to be used again
between the snapshot and the signal, the kernel's pid counter would have to wrap within a few
milliseconds. The supervisor, which starts once per command, imports this module: hence the standard
library only, and little of it.
"""

import os
import signal
from collections.abc import Collection

#: Snapshots after which `kill` stops looking for processes that it has not stopped yet.
_MAX_SNAPSHOTS = 50


def descendants(pid: int) -> list[int]:
    """Return the pids of all descendants of `pid`, nearest first, zombies included."""
    return [child for child, _ in _below(pid)]


def send(pids: Collection[int], number: int) -> None:
    """Send a signal to each process that is still there and may be signalled."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            continue


def kill(pid: int) -> None:
    """Send SIGKILL to every descendant of `pid`; repeat the call until none is left.

    Descendants are stopped first: a stopped process cannot fork, and it still counts for
    RLIMIT_NPROC, so a fork bomb cannot refill meanwhile. Their process groups are stopped, too,
    which the kernel does in one step: in a chain of processes that fork and end at once, each is
    gone before a signal to its pid arrives. No group reaches beyond the tree as long as the tree
    began with a session of its own.
    """
    stopped: set[int] = set()
    groups: set[int] = set()
    own = os.getpgrp()
    for _ in range(_MAX_SNAPSHOTS):
        below = _below(pid)
        fresh = {child for child, _ in below} - stopped
        if not fresh:
            break
        fresh_groups = {group for child, group in below if child in fresh} - {own, 0, 1}
        _send_groups(fresh_groups, signal.SIGSTOP)
        send(fresh, signal.SIGSTOP)
        stopped |= fresh
        groups |= fresh_groups
    _send_groups(groups, signal.SIGKILL)
    send(stopped, signal.SIGKILL)


def tasks_of(uid: int) -> int:
    """Count the threads that the user `uid` runs, as RLIMIT_NPROC does, as far as /proc shows."""
    total = 0
    for pid in _pids():
        found = _read(f"/proc/{pid}/status")
        if found:
            fields = dict(line.split(b":", 1) for line in found.splitlines() if b":" in line)
            if int(fields[b"Uid"].split()[0]) == uid:
                total += int(fields.get(b"Threads", b"1"))
    return total


def _below(pid: int) -> list[tuple[int, int]]:
    """Return pid and process group of all descendants of `pid`, nearest first."""
    children: dict[int, list[tuple[int, int]]] = {}
    for each in _pids():
        stat = _read(f"/proc/{each}/stat")
        if stat:
            # "pid (name) state ppid pgrp …", and the name may hold spaces and parentheses.
            _, parent, group = stat[stat.rindex(b")") + 2 :].split(None, 3)[:3]
            children.setdefault(int(parent), []).append((each, int(group)))
    found: list[tuple[int, int]] = []
    layer = children.get(pid, [])
    while layer:
        found += layer
        layer = [below for each, _ in layer for below in children.get(each, [])]
    return found


def _send_groups(groups: Collection[int], number: int) -> None:
    send([-group for group in groups], number)


def _pids() -> list[int]:
    with os.scandir("/proc") as entries:
        return [int(entry.name) for entry in entries if entry.name.isdigit()]


def _read(path: str) -> bytes:
    """Return a /proc file's content; empty when the process is gone or hidden."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.read(fd, 4096)  # whole: these files are far shorter
        finally:
            os.close(fd)
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return b""
