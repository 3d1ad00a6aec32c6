"""The lifecycle is the one table of which status may follow which; the store's scripts obey it."""

from typing import Final

from app.contract.status import FINAL, Status

#: The possible successors of each status. `running → queued` begins the next attempt at a build
#: whose worker was lost, or handed the build back.
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
    """Return the table for the Lua scripts: words `from>to`, separated by spaces."""
    return " ".join(
        f"{before}>{after}"
        for before, successors in TRANSITIONS.items()
        for after in sorted(successors)
    )
