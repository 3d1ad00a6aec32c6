"""`sanitized` and `SanitizedLines` make text harmless for a terminal: a build may print anything.

Colours and the like (SGR) pass. Everything else that a terminal would obey is taken out or made
visible: titles, links, clipboard writes and queries (OSC, DCS), cursor movements, C1 controls, and
characters that reverse the direction of text.
"""

import codecs
import re
from typing import Final

#: Characters of an unfinished line, after which it is cut.
_MAX_LINE: Final = 64 * 1024

#: Select Graphic Rendition (ECMA-48 §8.3.117): colours, bold and the like.
SGR: Final = re.compile(r"\x1b\[[0-9;:]*m")

_OTHER: Final = (
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI
    r"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)"  # OSC, DCS, SOS, PM, APC with their text
    r"|\x1b[ -/]*[0-OQ-WYZ\\`-~]"  # two-character sequences
)
#: CHA, which goes to the first column as a carriage return does (ECMA-48 §8.3.9): progress bars.
_TO_START: Final = re.compile(r"\x1b\[[01]?G")
#: What may become a CHA with the next piece.
_UNFINISHED_CHA: Final = re.compile(r"\x1b(?:\[[01]?)?\Z")
_CONTROL: Final = r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]"
_OBEYED: Final = re.compile(f"(?P<sgr>{SGR.pattern})|(?P<other>{_OTHER})|(?P<control>{_CONTROL})")


def sanitized(text: str) -> str:
    """Return `text` without anything that a terminal would obey, except colours."""
    return _OBEYED.sub(_replacement, text)


def _replacement(found: re.Match[str]) -> str:
    if found["sgr"]:
        return found["sgr"]
    if found["other"]:
        return ""
    character = ord(found["control"])
    if character == 0x7F:  # noqa: PLR2004  DEL
        return "␡"
    return chr(0x2400 + character) if character < 0x20 else "\N{REPLACEMENT CHARACTER}"  # noqa: PLR2004


class SanitizedLines:
    """A `SanitizedLines` cuts a stream of UTF-8 bytes into lines; characters may come in pieces."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""

    def feed(self, data: bytes) -> list[str]:
        """Take `data`; return the lines that it completes, sanitized and without their ends."""
        text = _TO_START.sub("\r", self._rest + self._decoder.decode(data))
        *lines, rest = text.split("\n")
        # Of a line that is written again and again, only the last state is kept.
        decided = _UNFINISHED_CHA.sub("", rest).rstrip("\r")
        self._rest = rest[decided.rfind("\r") + 1 :]
        if len(self._rest) > _MAX_LINE:
            lines.append(self._rest)
            self._rest = ""
        return [_shown(line) for line in lines]

    @property
    def rest(self) -> str:
        """The unfinished line as it stands, sanitized."""
        return _shown(self._rest)

    def close(self) -> list[str]:
        """Return the last line, if it has no end."""
        rest = self._rest + self._decoder.decode(b"", final=True)
        self._rest = ""
        return [_shown(rest)] if rest else []


def _shown(line: str) -> str:
    # A bare carriage return starts the line again, as progress bars do: its last state is shown.
    return sanitized(line.rstrip("\r").rsplit("\r", 1)[-1])
