"""How the servers' log lines look: time, level, where from, what happened, and of which build."""

import json
import logging
from typing import Final

from app.cli.lines import neutral

_FORMAT: Final = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"

#: What every record has; the rest is what a caller added with `extra`.
_STANDARD: Final = frozenset(logging.makeLogRecord({}).__dict__) | {
    "message",
    "asctime",
    "taskName",
}


class LogFormat(logging.Formatter):
    """One event, one line: what came from outside cannot begin a line of its own."""

    def __init__(self) -> None:
        super().__init__(_FORMAT, datefmt="%Y-%m-%dT%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  logging's name
        line = neutral(super().formatMessage(record).replace("\n", " "))
        context = "".join(
            f" {name}={_word(value)}"
            for name, value in record.__dict__.items()
            if name not in _STANDARD and not name.startswith("_")
        )
        return line + context


def _word(value: object) -> str:
    text = str(value)
    return text if text.isascii() and text.isprintable() and " " not in text else json.dumps(text)
