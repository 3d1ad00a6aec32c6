"""How the log lines of every process look: one event, one line, no secret in it.

As text, `2026-01-31T12:00:00.000Z INFO    logger: what happened build_id=bld_… attempt=1`; as JSON,
an object with `time`, `level`, `logger`, `message`, then what else is known by its name. A
traceback is a field, `exception`.
"""

import json
import logging
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal

from app.observability import log_context
from app.observability.redaction import Redaction, is_secret

Style = Literal["text", "json"]

#: What every record has; the rest is what a caller added with `extra`.
_STANDARD: Final = frozenset(logging.makeLogRecord({}).__dict__) | {
    "message", "asctime", "taskName", "color_message",  # the last one is uvicorn's
}  # fmt: skip

log = logging.getLogger(__name__)


class LogFormat(logging.Formatter):
    """What came from outside cannot begin a line of its own, nor steer a terminal."""

    def __init__(
        self,
        style: Style = "text",
        secrets: Iterable[str] = (),
        trace_ids: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        """`secrets` are words that this process was given and must never say; `trace_ids` names
        the trace that a line belongs to (`tracing.ids`)."""
        super().__init__()
        self._trace_ids = trace_ids
        self._shown = _text if style == "text" else _json
        self._redacted = Redaction(secrets)

    def format(self, record: logging.LogRecord) -> str:
        return self._shown({name: self._safe(name, v) for name, v in self._event(record).items()})

    def line(self, name: str, message: str) -> str:
        """For where nothing may be logged: in signal handlers."""
        return self.format(logging.LogRecord(name, logging.INFO, "", 0, message, None, None))

    def _event(self, record: logging.LogRecord) -> dict[str, Any]:
        extra = {
            name: value
            for name, value in record.__dict__.items()
            if name not in _STANDARD and not name.startswith("_") and _is_word(value)
        }
        event = {
            "time": rfc3339(record.created),
            "level": record.levelname,
            "logger": record.name,
            "message": _message(record),
        }
        # In this order, and what comes first cannot be said otherwise by what comes after.
        event |= {n: v for n, v in {**log_context.fields(), **extra}.items() if n not in event}
        event |= self._trace_ids()
        if record.exc_info:
            event["exception"] = self._exception(record.exc_info)
        if record.stack_info:
            event["stack"] = record.stack_info
        return event

    def _exception(self, info: Any) -> str:  # noqa: ANN401  logging's own
        try:
            return self.formatException(info)
        except Exception:  # noqa: BLE001  a traceback of another process, say
            return str(getattr(info[0], "__name__", info[0]))

    def _safe(self, name: str, value: object) -> object:
        if is_secret(name):
            return "[secret]"
        return self._redacted(value) if isinstance(value, str) else value


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception as error:  # noqa: BLE001  whatever an argument's repr raises
        # Else `logging` would print the arguments, and they may be anything.
        return f"{record.msg} ({type(error).__name__} over its arguments)"


def _is_word(value: object) -> bool:
    """Celery adds whole tasks to its records; their names stand in the message anyway."""
    return isinstance(value, str | int | float | bool) or value is None


def _json(event: Mapping[str, Any]) -> str:
    # A `str` of its own kind, like our enumerations, is written as what it is a kind of.
    return json.dumps(event, ensure_ascii=True)


def _text(event: Mapping[str, Any]) -> str:
    time, level, logger, message, *_ = event.values()
    line = printable(f"{time} {level:7} {logger}: {message}")
    return line + "".join(f" {name}={_word(value)}" for name, value in [*event.items()][4:])


def _word(value: object) -> str:
    text = str(value)
    return text if text.isascii() and text.isprintable() and " " not in text else json.dumps(text)


def printable(text: str) -> str:
    """`text`; what ends a line, steers a terminal or turns text around is spelled out."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )


def rfc3339(seconds: float) -> str:
    """A moment since the epoch in UTC, to the millisecond (RFC 3339 §5.6)."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def log_to_stderr(level: str, shown: LogFormat) -> None:
    """Send all that is logged to stderr, and what Python itself would print there."""
    handler = logging.StreamHandler()
    handler.setFormatter(shown)
    logging.basicConfig(level=level.upper(), handlers=[handler])
    logging.captureWarnings(capture=True)
    sys.excepthook = _unforeseen
    threading.excepthook = _ended


def _unforeseen(kind: type[BaseException], error: BaseException, trace: Any) -> None:  # noqa: ANN401
    if not issubclass(kind, Exception):  # an interrupt is no failure
        sys.__excepthook__(kind, error, trace)
        return
    log.critical("this process ends", exc_info=(kind, error, trace))


def _ended(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None:
        name = args.thread.name if args.thread else "?"
        log.error("thread %s ended", name, exc_info=args.exc_value)
