"""The screen of a terminal that wraps its lines anew when the window changes, as most do."""

import re

_TOKEN = re.compile(r"\x1b\[(\?25[hl]|\d*[AJm])|[\r\n]|[^\x1b\r\n]+")


class ReflowingScreen:
    """Knows what a footer says: text, line ends, cursor up (CUU), clear to the end (ED).

    Lines are kept as they were printed; rows are what `width` makes of them. One column per
    character.
    """

    def __init__(self, width: int) -> None:
        self.width = width
        self.lines = [""]
        self.cursor_shown = True
        self._line, self._column = 0, 0
        self._printed = False  #: the cursor stands behind what was printed

    def feed(self, output: str) -> None:
        at = 0
        while at < len(output):
            token = _TOKEN.match(output, at)
            assert token, f"not known to this screen: {output[at : at + 20]!r}"
            at = token.end()
            self._obey(token[0], token[1])

    def _obey(self, token: str, control: str | None) -> None:
        if token == "\r":
            self._column, self._printed = self._row() * self.width, False
        elif token == "\n":
            self._line, self._column, self._printed = self._line + 1, 0, False
            if self._line == len(self.lines):
                self.lines.append("")
        elif control is None:
            line = self.lines[self._line].ljust(self._column)
            after = self._column + len(token)
            self.lines[self._line] = line[: self._column] + token + line[after:]
            self._column, self._printed = after, True
        elif control.startswith("?25"):
            self.cursor_shown = control == "?25h"
        elif control.endswith("A"):
            for _ in range(int(control[:-1] or "1")):
                self._up()
        elif control == "J":
            del self.lines[self._line + 1 :]
            self.lines[self._line] = self.lines[self._line][: self._column]

    def _row(self) -> int:
        """Of those that the line takes; after a full row, the cursor still stands in it."""
        return max(0, self._column - self._printed) // self.width

    def _up(self) -> None:
        """One row up, in the same column of the window."""
        row = self._row()
        column = self._column - row * self.width
        if row:
            self._column -= self.width
        else:
            assert self._line, "above the top of the screen"
            self._line -= 1
            rows = max(1, -(-len(self.lines[self._line]) // self.width))
            self._column = (rows - 1) * self.width + column
