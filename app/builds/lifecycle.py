"""Which state may follow which: the one table. The store's scripts are given what it allows."""

from typing import Final

from app.contract.status import FINAL, Status

#: A state's possible successors. `running → queued` is a lost worker's build going round again.
TRANSITIONS: Final[dict[Status, frozenset[Status]]] = {
    Status.QUEUED: frozenset({Status.RUNNING, Status.CANCELLED, Status.ERRORED}),
    Status.RUNNING: FINAL | {Status.QUEUED},
    Status.SUCCEEDED: frozenset(),
    Status.FAILED: frozenset(),
    Status.ERRORED: frozenset(),
    Status.TIMED_OUT: frozenset(),
    Status.CANCELLED: frozenset(),
}


def encoded() -> str:
    """The table for the scripts: `from>to` words between spaces."""
    return " ".join(
        f"{before}>{after}"
        for before, successors in TRANSITIONS.items()
        for after in sorted(successors)
    )
