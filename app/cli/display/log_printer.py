"""`LogPrinter` prints a log's bytes on a terminal, with colours but no other control sequence."""

from collections.abc import Callable, Sequence
from typing import Final

from rich.ansi import AnsiDecoder
from rich.console import Console
from rich.text import Text

from app.cli.display.terminal_sanitizer import SGR, SanitizedLines

#: Characters of an unfinished line that are shown: no window is wider.
_MAX_REST: Final = 4096

_RESET: Final = "\x1b[0m"
_RESETS: Final = frozenset({_RESET, "\x1b[m"})


class LogPrinter:
    """A `LogPrinter` passes whole lines to `write`; colours outlast a line, as in a terminal."""

    def __init__(self, console: Console, write: Callable[[str], object]) -> None:
        self.taken = 0  #: bytes, so far
        self._write = write
        self._colourless = console.no_color or console.color_system is None
        self._lines = SanitizedLines()
        self._style = AnsiDecoder()
        self._codes = ""  #: SGR codes in force where the next line begins

    def feed(self, data: bytes) -> None:
        """Print the lines that `data` completes."""
        self.taken += len(data)
        self._print(self._lines.feed(data))

    def close(self) -> None:
        """Print the last line, if it has no end."""
        self._print(self._lines.close())

    @property
    def rest(self) -> Text:
        """The beginning of the line that has no end yet, without colours."""
        return Text(SGR.sub("", self._lines.rest)[:_MAX_REST].expandtabs())

    def _print(self, lines: Sequence[str]) -> None:
        if lines:
            text = "\n".join(lines) + "\n"
            self._write(SGR.sub("", text) if self._colourless else self._coloured(text))

    def _coloured(self, text: str) -> str:
        """Put `text` into the colours in force before it, and reset them at its end."""
        before = self._codes
        codes = SGR.findall(text)
        if codes:
            last = max((n for n, code in enumerate(codes) if code in _RESETS), default=0)
            self._style.decode_line("".join(codes[last:]))
            self._codes = self._style.style.render("\0").partition("\0")[0]
        return before + text + (_RESET if codes or before else "")
