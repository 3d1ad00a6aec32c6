"""These functions render a followed build's state and steps, below its log and at its end."""

from collections.abc import Sequence
from typing import Final

from rich.text import Text

from app.cli.display.terminal_sanitizer import sanitized
from app.cli.display.views import duration, elapsed, mark, sign
from app.contract.builds import BuildView
from app.contract.runs import StepReport
from app.contract.status import Status, StepStatus

_DIM: Final = "bright_black"
_GAP: Final = "   "
_MAX_STEP_NAME: Final = 24  #: characters of a step's name
_BESIDE: Final = 32  #: columns for what stands beside a name: sign, time, exit code
_MINUTE: Final = 60


def standing(build: BuildView, trouble: str = "") -> Text:
    """Render the status, for how long, and what the build waits for, as one line.

    `trouble` is a notice of the client's, such as a lost connection.
    """
    parts = [mark(build.status)]
    took = elapsed(build)
    if took is not None:
        parts.append(Text(duration(took), style=_DIM))
    if build.attempts and not build.status.final:
        last = build.attempts[-1]
        parts.append(Text(f"attempt {last.attempt + 1}, after {last.reason}", style="yellow"))
    if build.cancel_requested_at and build.status is Status.RUNNING:
        parts.append(Text("is being cancelled", style="yellow"))
    waits = _waits(build)
    if waits:
        parts.append(Text(sanitized(waits), style="yellow"))
    if trouble:
        parts.append(Text(trouble, style="yellow"))
    return Text("  ").join(parts)


def _waits(build: BuildView) -> str:
    """Say why a queued build waits, at which place, and about how long."""
    queue = build.queue
    if build.status is not Status.QUEUED:
        return ""
    if queue is None:
        return build.message or ""
    place = f" Place {queue.position}" if queue.position > 1 else ""
    if place and queue.estimate is not None:
        minutes = queue.estimate / _MINUTE
        place += f", about {f'{minutes:.0f} min' if minutes >= 1 else 'a minute'}"
    return queue.message + (f"{place}." if place else "")


def steps_line(build: BuildView, width: int) -> Text:
    """Render all steps on one line of `width` columns.

    Where they do not fit, finished steps are left out first, then those to come.
    """
    steps = build.steps
    if not steps:
        return Text()
    first, last = 0, len(steps)
    current = next((n for n, step in enumerate(steps) if not _is_over(step)), last - 1)
    line = _joined(steps, first, last)
    while line.cell_len > width and last - first > 1:
        if first < current:
            first += 1
        else:
            last -= 1
        line = _joined(steps, first, last)
    return line


def steps_list(build: BuildView, width: int) -> list[Text]:
    """Render each step that began, with how it ended, on a line of `width` columns at most."""
    lines = []
    for step in build.steps:
        took = elapsed(step)
        if took is not None:
            line = Text("  ") + _step(step, max(_MAX_STEP_NAME, width - _BESIDE))
            if step.exit_code:
                line += Text(f"  exit {step.exit_code}", style="red")
            lines.append(line)
    return lines


def _joined(steps: Sequence[StepReport], first: int, last: int) -> Text:
    parts = [_step(step) for step in steps[first:last]]
    if first:
        parts.insert(0, Text(f"{first} done", style=_DIM))
    if last < len(steps):
        parts.append(Text(f"{len(steps) - last} to come", style=_DIM))
    return Text(_GAP).join(parts)


def _step(step: StepReport, room: int = _MAX_STEP_NAME) -> Text:
    """Render a step's sign, its name in `room` columns, and its time."""
    name = Text(sanitized(step.name))
    name.truncate(room, overflow="ellipsis")
    if step.status is StepStatus.RUNNING:
        name.stylize("bold")
    elif step.started_at is None:
        name.stylize(_DIM)
    took = elapsed(step)
    shown = sign(step.status) + " " + name
    return shown if took is None else shown + " " + Text(duration(took), style=_DIM)


def _is_over(step: StepReport) -> bool:
    return step.status not in {StepStatus.PENDING, StepStatus.RUNNING}
