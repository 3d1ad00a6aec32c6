"""`StatusBar` keeps a few rows at the bottom of a terminal while text scrolls above them.

Each change is one write, so that nothing flickers. A terminal whose window became narrower has
wrapped the rows: they are counted as they stand now, not as they were drawn.
"""

import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.text import Text

_REFRESH_INTERVAL: Final = 0.125  #: seconds, and so the spinner's pace

_HIDE_CURSOR: Final = "\x1b[?25l"
_SHOW_CURSOR: Final = "\x1b[?25h"
_CLEAR_BELOW: Final = "\x1b[J"


class StatusBar:
    """A `StatusBar` is shown while it is entered, which may be several times.

    `rows` is called from the thread that prints and from one of the bar's own.
    """

    def __init__(self, console: Console, rows: Callable[[], Sequence[Text]]) -> None:
        self._console = console
        self._rows = rows
        self._lock = threading.RLock()
        self._drawn: list[int] = []  #: columns of each row that stands there
        self._left = threading.Event()
        self._left.set()

    def __enter__(self) -> Self:
        self._left.clear()
        self._write(_HIDE_CURSOR)
        self._ticker = threading.Thread(target=self._tick, daemon=True)
        self._ticker.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._left.set()
        self._ticker.join(1)
        self._write(_SHOW_CURSOR)

    def print(self, text: str) -> None:
        """Write `text`, whole lines with their ends, above the rows; safe in any thread."""
        self._write(text)

    def _tick(self) -> None:
        try:
            while not self._left.wait(_REFRESH_INTERVAL):
                self._write("")
        except OSError:
            pass  # the terminal is gone; the thread that prints says so

    def _write(self, text: str) -> None:
        with self._lock:
            erased = self._erased()
            drawn, rows = ([], "") if self._left.is_set() else self._painted()
            # A Ctrl-C here leaves a row behind, which is better than erasing other text.
            self._drawn = []
            self._console.file.write(erased + text + rows)
            self._console.file.flush()
            self._drawn = drawn

    def _erased(self) -> str:
        """Return what erases the rows; the cursor is at the end of the last one."""
        if not self._drawn:
            return ""
        width = max(1, self._console.width)
        above = sum(max(1, -(-cells // width)) for cells in self._drawn) - 1
        return "\r" + (f"\x1b[{above}A" if above else "") + _CLEAR_BELOW

    def _painted(self) -> tuple[list[int], str]:
        """Return the width of each row, and the text that draws all of them."""
        size = self._console.size
        rows = list(self._rows())[-max(1, size.height - 1) :]
        for row in rows:
            # One column stays free: a full row leaves the cursor where terminals disagree.
            row.truncate(max(1, size.width - 1), overflow="ellipsis")
        with self._console.capture() as painted:
            self._console.print(Text("\n").join(rows), end="", soft_wrap=True)
        return [row.cell_len for row in rows], painted.get()
