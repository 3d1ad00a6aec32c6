"""`listing` prints builds as a table that fits the window, or as lines into a pipe."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from rich.console import Console
from rich.text import Text

from app.cli.display.views import age, duration, elapsed, mark, sign, what
from app.contract.builds import BuildView

_GAP: Final = 2
_DIM: Final = "bright_black"

#: The table's columns, from the widest window to the narrowest, and the least width for "what".
#: An id is never cut, since the other commands take it.
_CHOICES: Final = (
    (("build", "status", "created", "age", "took", "what"), 40),
    (("build", "status", "age", "took", "what"), 16),
    (("build", "", "age", "took", "what"), 16),
    (("build", "", "age", "what"), 16),
    (("build", "", "age"), 0),
    (("build", ""), 0),
    (("build",), 0),
)


def listing(builds: Sequence[BuildView], console: Console) -> None:
    """Print a table on a terminal, tab-separated lines without a head otherwise."""
    if not console.file.isatty():
        for build in builds:
            console.file.write(_line(build) + "\n")
    elif builds:
        for row in _table([_cells(build) for build in builds], console.width):
            console.print(row, soft_wrap=True)
    else:
        console.print(Text("no builds", style=_DIM))


def _line(build: BuildView) -> str:
    took = elapsed(build)
    return "\t".join(
        (
            build.id,
            build.status.value,
            f"{build.created_at:%Y-%m-%dT%H:%M:%SZ}",
            "" if took is None else f"{took:.1f}",
            what(build).replace("\t", " "),
        )
    )


def _cells(build: BuildView) -> dict[str, Text]:
    """Return each column's cell by the column's head; the head of the sign alone is empty."""
    took = elapsed(build)
    return {
        "build": Text(build.id),
        "status": mark(build.status),
        "": sign(build.status),
        "created": Text(_moment(build.created_at), style=_DIM),
        "age": Text(age(build.created_at)),
        "took": Text("" if took is None else duration(took)),
        "what": Text(what(build)),
    }


def _moment(moment: datetime) -> str:
    return moment.astimezone().strftime("%Y-%m-%d %H:%M")


def _table(rows: Sequence[dict[str, Text]], width: int) -> Iterable[Text]:
    """Yield the head and the rows, none wider than `width` unless an id is."""
    widths = {name: max(len(name), *(row[name].cell_len for row in rows)) for name in rows[0]}
    for columns, least in _CHOICES:
        room = _room(columns, widths, width)
        if room >= min(least, widths["what"]):
            break
    if "what" in columns:
        widths["what"] = min(widths["what"], room)
    yield _row([Text(name, style="bold") for name in columns], [widths[name] for name in columns])
    for row in rows:
        yield _row([row[name] for name in columns], [widths[name] for name in columns])


def _room(columns: Sequence[str], widths: dict[str, int], width: int) -> int:
    """Return what is left of `width` for "what", negative when the other columns do not fit."""
    fixed = sum(widths[name] for name in columns if name != "what")
    return width - fixed - _GAP * (len(columns) - 1)


def _row(cells: Sequence[Text], widths: Sequence[int]) -> Text:
    for cell, width in zip(cells, widths, strict=True):
        cell.truncate(width, overflow="ellipsis", pad=True)
    row = Text(" " * _GAP).join(cells)
    row.rstrip()
    return row
