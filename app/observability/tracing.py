"""Traces (OpenTelemetry): one from a user's request to the last report, across all processes.

Spans are made by hand, at our own seams. Nothing is done, and OpenTelemetry's SDK is not loaded,
unless an endpoint is configured by the variables that the SDK itself reads.
"""

import json
import logging
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final, Protocol, Self
from urllib.parse import urlsplit

from opentelemetry import context, trace
from opentelemetry.trace import Status, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from app.errors import SettingsError
from app.observability.redaction import without_secrets

log = logging.getLogger(__name__)

Span = trace.Span
Kind = trace.SpanKind

#: What leads from one process to the next (W3C Trace Context): HTTP's and messages' headers.
HEADERS: Final = ("traceparent", "tracestate")

#: Names of attributes: what is said of builds.
BUILD: Final = "baton.build.id"
ATTEMPT: Final = "baton.attempt"
STATUS: Final = "baton.status"
REASON: Final = "baton.reason"
ERROR: Final = "error.type"  # OpenTelemetry's own name for it

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
#: Characters of `tracestate` that are passed on: what W3C Trace Context §3.3.1.5 asks for.
_MAX_TRACESTATE: Final = 512

_SAMPLED: Final = 1  #: W3C Trace Context §3.2.2.5.1
_METRICS: Final = "opentelemetry.sdk.metrics"
_SDK: Final = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")
_W3C: Final = TraceContextTextMapPropagator()


class Exporting(Protocol):
    """Spans on their way to a collector; no call waits for it longer than it is told to."""

    @property
    def tracer(self) -> Tracer: ...
    def flush(self, seconds: float) -> None: ...
    def stop(self, seconds: float) -> None: ...


class Tracing:
    """The spans of one process. Does nothing until it is started, or where nothing is configured.

    It has to be started in the process that it is for: its threads do not live through a fork.
    """

    def __init__(self, service: str = "", *, configured: bool = False) -> None:
        """`service` is the `service.name` where the environment has none."""
        self._service = service
        self._configured = configured
        self._exporting: Exporting | None = None

    @classmethod
    def from_env(cls, service: str, environ: Mapping[str, str]) -> Self:
        """Raises `SettingsError` when spans are to be exported and cannot be."""
        return cls(service, configured=_is_configured(environ))

    def start(self) -> None:
        if self._configured and self._exporting is None:
            if sys.modules.get(_METRICS, log) is None:
                del sys.modules[_METRICS]  # see app/__init__.py; what is loaded now may want it
            module: Any = import_module("app.observability.span_export")
            try:
                self._exporting = module.start(self._service)
            except ValueError as error:  # numbers of the environment that do not fit each other
                log.error("traces are not sent: %s", error)  # noqa: TRY400  no traceback

    def flush(self, seconds: float) -> None:
        """Send what has ended; come back after `seconds` whether it has arrived or not."""
        if self._exporting:
            self._exporting.flush(seconds)

    def stop(self, seconds: float) -> None:
        """Send the rest; what has not arrived after `seconds` is lost."""
        if self._exporting:
            self._exporting.stop(seconds)
            self._exporting = None

    @property
    def on(self) -> bool:
        return self._exporting is not None

    @contextmanager
    def span(
        self,
        name: str,
        *,
        kind: Kind = Kind.INTERNAL,
        parent: Mapping[str, str] | None = None,
        attributes: Mapping[str, str | int | float | bool] | None = None,
    ) -> Iterator[Span]:
        """A span for the length of a `with`, below the one around it, or below `parent`.

        An exception that leaves it is told by its type alone: what it says may be a user's.
        """
        if self._exporting is None:
            yield trace.INVALID_SPAN
            return
        with self._exporting.tracer.start_as_current_span(
            name,
            None if parent is None else _read(parent),
            kind=kind,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield span
            except BaseException as error:
                failed(span, type(error).__name__)
                raise

    @contextmanager
    def within(self, parent: Mapping[str, str]) -> Iterator[None]:
        """Be part of a trace without a span of one's own."""
        if self._exporting is None:
            yield
            return
        before = context.attach(_read(parent))
        try:
            yield
        finally:
            context.detach(before)


OFF: Final = Tracing()


def current() -> Span:
    """The span around here; one that records nothing where there is none."""
    return trace.get_current_span()


def failed(span: Span, why: str) -> None:
    """`why` is one of few words: a type, a reason."""
    span.set_attribute(ERROR, why)
    span.set_status(Status(StatusCode.ERROR, why))


def record(error: BaseException) -> None:
    """An error that nobody foresaw, on the span around it, as it is in the log."""
    span = current()
    if span.is_recording():
        stack = "".join(traceback.format_exception(error))
        failed(span, type(error).__name__)
        span.add_event(
            "exception",
            {
                "exception.type": type(error).__name__,
                "exception.message": without_secrets(str(error)),
                "exception.stacktrace": without_secrets(stack),
            },
        )


def carrier(*, recorded: bool = True) -> dict[str, str]:
    """The headers by which another process goes on with the trace of here; empty without one.

    With `recorded` false, it has its calls in the trace, but makes no spans of them: so says the
    flag `sampled`, which samplers go by unless told otherwise.
    """
    found: dict[str, str] = {}
    _W3C.inject(found)
    if not recorded and "traceparent" in found:
        start, _, flags = found["traceparent"].rpartition("-")
        found["traceparent"] = f"{start}-{int(flags, 16) & ~_SAMPLED:02x}"
    if len(found.get("tracestate", "")) > _MAX_TRACESTATE:
        del found["tracestate"]
    return found


def carried(headers: Mapping[Any, Any]) -> dict[str, str]:
    """Of somebody's headers, those that carry a trace; whether they make sense is seen later."""
    return {n: headers[n] for n in HEADERS if n in headers and isinstance(headers[n], str)}


def written() -> str:
    """The trace of here, to be put on record; empty without one."""
    found = carrier()
    return json.dumps(found) if found else ""


def read(written: str) -> dict[str, str] | None:
    """What `written` wrote; None for whatever else is there."""
    with suppress(ValueError):
        found = json.loads(written or "null")
        if isinstance(found, dict):
            return carried(found)
    return None


def environment() -> dict[str, str]:
    """The variables by which a program that is started here goes on with the trace
    (OpenTelemetry, Environment Variables as Context Propagation Carriers)."""
    return {name.upper(): value for name, value in carrier().items()}


def ids() -> dict[str, str]:
    """What log lines say of the trace that they belong to."""
    here = current().get_span_context()
    if not here.is_valid:
        return {}
    return {
        "trace_id": trace.format_trace_id(here.trace_id),
        "span_id": trace.format_span_id(here.span_id),
    }


def _read(parent: Mapping[str, str]) -> context.Context:
    return _W3C.extract(parent, context=context.Context())


def _is_configured(environ: Mapping[str, str]) -> bool:
    """Raises `SettingsError`."""
    variable = next((name for name in _ENDPOINTS if environ.get(name, "").strip()), None)
    disabled = environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    if variable is None or disabled or environ.get("OTEL_TRACES_EXPORTER") == "none":
        return False
    parts = urlsplit(environ[variable].strip())
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise SettingsError(
            f"{variable}: must be an http(s) URL like http://collector.example.com:4318"
        )
    for name in _PROTOCOLS:
        if environ.get(name, "http/protobuf") not in {"", "http/protobuf"}:
            raise SettingsError(
                f"{name}: Baton speaks http/protobuf, which collectors take on port 4318; take "
                "the variable out, or set it to that"
            )
    if not all(map(_is_there, _SDK)):
        raise SettingsError(
            f"{variable} is set, but what sends traces is not installed: "
            "pip install 'baton[tracing]', or take the variable out"
        )
    return True


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False
