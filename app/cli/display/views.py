"""These functions render what a build says of itself, as text for terminals and pipes.

Texts of a build's own, such as its message or a step's name, come out sanitized.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from app.cli.display.terminal_sanitizer import sanitized
from app.contract.builds import BuildView
from app.contract.runs import StepReport
from app.contract.status import Status, StepStatus

_MARKS: Final[dict[str, tuple[str, str]]] = {
    Status.QUEUED: ("○", "yellow"),
    Status.RUNNING: ("●", "blue"),
    Status.SUCCEEDED: ("✓", "green"),
    Status.FAILED: ("✗", "red"),
    Status.ERRORED: ("!", "magenta"),
    Status.TIMED_OUT: ("✗", "red"),
    Status.CANCELLED: ("⊘", "bright_black"),
    StepStatus.PENDING: ("·", "bright_black"),
    StepStatus.SKIPPED: ("-", "bright_black"),
}


def mark(status: Status | StepStatus) -> Text:
    """Render a status in its colour, with its sign."""
    sign, colour = _MARKS[status]
    return Text(f"{sign} {status.value.replace('_', ' ')}", style=colour)


def sign(status: Status | StepStatus) -> Text:
    """Render the sign of a status alone, in its colour."""
    return Text(*_MARKS[status])


def duration(seconds: float) -> str:
    """Format a time in two units at most."""
    minutes, rest = divmod(max(0.0, seconds), 60)
    if minutes < 1:
        return f"{rest:.1f} s"
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {int(rest):02} s"


def elapsed(build: BuildView | StepReport) -> float | None:
    """Return the seconds from start to end, or until now; None before the start."""
    if build.started_at is None:
        return None
    return ((build.finished_at or datetime.now(UTC)) - build.started_at).total_seconds()


def age(moment: datetime) -> str:
    """Format how long ago `moment` was, in one unit."""
    seconds = max(0.0, (datetime.now(UTC) - moment).total_seconds())
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _time(moment: datetime | None) -> str:
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S") if moment else ""


def what(build: BuildView) -> str:
    """Say what was built: repository and ref, or the first step's name without a source."""
    if build.spec.source is None:
        return sanitized(build.spec.steps[0].name)
    of = build.spec.source.ref or (build.commit or build.spec.source.sha or "")[:12]
    name = build.spec.source.git.rstrip("/").rsplit("/", 1)[-1].removesuffix(".git")
    return sanitized(f"{name}@{of}" if of else name)


def outcome(build: BuildView) -> str:
    """Say in one plain sentence where a build stands."""
    return f"{build.id} {build.status.value.replace('_', ' ')}{aftermath(build)}"


def aftermath(build: BuildView) -> str:
    """Say how long a build took, and its message, as the end of a sentence; may be empty."""
    took = elapsed(build)
    after = f" after {duration(took)}" if took is not None and build.finished_at else ""
    return after + (f": {sanitized(build.message)}" if build.message else "")


def details(build: BuildView, console: Console) -> None:
    """Print all facts about a build, then its steps."""
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="bright_black", no_wrap=True)
    for name, value in _facts(build):
        if value:
            facts.add_row(name, value if isinstance(value, Text) else Text(sanitized(value)))
    console.print(facts)
    steps = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for head in ("step", "status", "exit", "took"):
        steps.add_column(head)
    for step in build.steps or [StepReport(name=step.name) for step in build.spec.steps]:
        took = elapsed(step)
        steps.add_row(
            Text(sanitized(step.name)),
            mark(step.status),
            "" if step.exit_code is None else str(step.exit_code),
            "" if took is None else duration(took),
        )
    console.print(steps)


def _facts(build: BuildView) -> Iterable[tuple[str, str | Text | None]]:
    took, source = elapsed(build), build.spec.source
    yield "build", build.id
    yield "status", mark(build.status)
    yield "reason", build.reason
    yield "message", build.message
    yield "source", f"{source.git} {source.ref or ''}".rstrip() if source else None
    yield "commit", build.commit
    yield "labels", ", ".join(f"{name}={value}" for name, value in build.spec.labels.items())
    yield "created", _time(build.created_at)
    yield "started", _time(build.started_at)
    yield "finished", _time(build.finished_at)
    yield "took", None if took is None else duration(took)
    yield "attempt", f"{build.attempt} (worker {build.worker or '-'})" if build.attempt else None
    for lost in build.attempts:
        yield "", f"attempt {lost.attempt} ended: {lost.reason} (worker {lost.worker or '-'})"
    yield "cancelled by", build.cancelled_by
    yield "retry of", build.retry_of
    yield "log", f"{build.log.length} bytes"
    if build.token:
        yield "token", f"{build.token.scope}, until {_time(build.token.expires_at)}"
