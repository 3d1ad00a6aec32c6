"""Every process writes its log in this format: one line for each event, without secrets.

As text, `2026-01-31T12:00:00.000Z INFO    logger: what happened build_id=bld_… attempt=1`; as JSON,
an object with `time`, `level`, `logger` and `message`, then the other fields by their names. A
traceback is the field `exception`.
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

#: Attributes that every record has; a caller added the others, with `extra`.
_STANDARD: Final = frozenset(logging.makeLogRecord({}).__dict__) | {
    "message", "asctime", "taskName", "color_message",  # the last one is uvicorn's
}  # fmt: skip

log = logging.getLogger(__name__)


class LogFormat(logging.Formatter):
    """A `LogFormat` writes a record as one line; no text from outside can add a line or steer a
    terminal."""

    def __init__(
        self,
        style: Style = "text",
        secrets: Iterable[str] = (),
        trace_ids: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        """Take the words that no line may contain (`secrets`), and a function that returns the ids
        of the current trace (`tracing.ids`)."""
        super().__init__()
        self._trace_ids = trace_ids
        self._render = _text if style == "text" else _json
        self._redact = Redaction(secrets)

    def format(self, record: logging.LogRecord) -> str:
        return self._render({name: self._safe(name, v) for name, v in self._event(record).items()})

    def line(self, name: str, message: str) -> str:
        """Format a message where nothing may be logged, as in a signal handler."""
        return self.format(logging.LogRecord(name, logging.INFO, "", 0, message, None, None))

    def _event(self, record: logging.LogRecord) -> dict[str, Any]:
        extra = {
            name: value
            for name, value in record.__dict__.items()
            if name not in _STANDARD and not name.startswith("_") and _is_scalar(value)
        }
        event = {
            "time": rfc3339(record.created),
            "level": record.levelname,
            "logger": record.name,
            "message": _message(record),
        }
        # The order matters: a field cannot replace one that stands before it.
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
        except Exception:  # noqa: BLE001  e.g. a traceback of another process
            return str(getattr(info[0], "__name__", info[0]))

    def _safe(self, name: str, value: object) -> object:
        if is_secret(name):
            return "[secret]"
        return self._redact(value) if isinstance(value, str) else value


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception as error:  # noqa: BLE001  an argument's repr may raise anything
        # Otherwise `logging` would print the arguments, which may hold a secret.
        return f"{record.msg} ({type(error).__name__} over its arguments)"


def _is_scalar(value: object) -> bool:
    """Leave out objects: Celery adds whole tasks, whose names are in the message anyway."""
    return isinstance(value, str | int | float | bool) or value is None


def _json(event: Mapping[str, Any]) -> str:
    # A member of a `StrEnum` is written as its text.
    return json.dumps(event, ensure_ascii=True)


def _text(event: Mapping[str, Any]) -> str:
    time, level, logger, message, *_ = event.values()
    line = printable(f"{time} {level:7} {logger}: {message}")
    return line + "".join(f" {name}={_quoted(value)}" for name, value in [*event.items()][4:])


def _quoted(value: object) -> str:
    text = str(value)
    return text if text.isascii() and text.isprintable() and " " not in text else json.dumps(text)


def printable(text: str) -> str:
    """Return `text` with every character escaped that ends a line, steers a terminal or reverses
    the direction of writing."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )


def rfc3339(seconds: float) -> str:
    """Format seconds since 1970 as a UTC time with milliseconds (RFC 3339 §5.6)."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def log_to_stderr(level: str, log_format: LogFormat) -> None:
    """Send all log lines to stderr, and the warnings and tracebacks that Python would print."""
    handler = logging.StreamHandler()
    handler.setFormatter(log_format)
    logging.basicConfig(level=level.upper(), handlers=[handler])
    logging.captureWarnings(capture=True)
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_in_thread


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: Any) -> None:  # noqa: ANN401
    if not issubclass(kind, Exception):  # an interrupt is no failure
        sys.__excepthook__(kind, error, trace)
        return
    log.critical("this process ends", exc_info=(kind, error, trace))


def _log_uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None:
        name = args.thread.name if args.thread else "?"
        log.error("thread %s ended", name, exc_info=args.exc_value)
