"""What processes cost and which there are, from /proc."""

import os
from dataclasses import dataclass
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Process:
    pid: int
    parent: int
    began: int  #: ticks since the machine's start; with `pid`, a name that is never used again
    ended: bool  #: a zombie: nothing of it runs any more
    cpu: float  #: seconds, its own and those of the children that it has waited for


def processes() -> dict[int, Process]:
    """All that are there now."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (process := _process(int(entry.name))):
            found[process.pid] = process
    return found


def tree(pid: int) -> list[Process]:
    """A process and all that descend from it."""
    there = processes()
    children: dict[int, list[int]] = {}
    for process in there.values():
        children.setdefault(process.parent, []).append(process.pid)
    found = []
    pids = [pid]
    while pids:
        one = pids.pop()
        if one in there:
            found.append(there[one])
        pids += children.get(one, [])
    return found


def cpu(pid: int) -> float:
    """Seconds of a core that a process and all its descendants have used."""
    return sum(process.cpu for process in tree(pid))


def runs(process: Process) -> bool:
    now = _process(process.pid)
    return now is not None and now.began == process.began and not now.ended


def resident(pid: int) -> int:
    """Bytes of memory that a process has."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


def _process(pid: int) -> Process | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(")")[2].split()
    return Process(
        pid=pid,
        parent=int(fields[1]),
        began=int(fields[19]),
        ended=fields[0] in "ZX",
        cpu=sum(map(int, fields[11:15])) / _TICK,
    )
