"""A trace (OpenTelemetry) leads from a user's request to the last report, across all processes.

Our own code makes the spans, without automatic instrumentation. Unless the variables that the SDK
itself reads name an endpoint, no span is recorded and the SDK is not loaded.
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

#: The headers, of HTTP and of messages, that carry a trace to the next process (W3C Trace Context).
HEADERS: Final = ("traceparent", "tracestate")

#: The names of our spans' attributes.
BUILD: Final = "baton.build.id"
ATTEMPT: Final = "baton.attempt"
STATUS: Final = "baton.status"
REASON: Final = "baton.reason"
ERROR: Final = "error.type"  # OpenTelemetry's own name for it

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
#: The most characters of `tracestate` that are passed on (W3C Trace Context §3.3.1.5).
_MAX_TRACESTATE: Final = 512

_SAMPLED: Final = 1  #: the flag `sampled` (W3C Trace Context §3.2.2.5.1)
_METRICS: Final = "opentelemetry.sdk.metrics"
_SDK: Final = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")
_W3C: Final = TraceContextTextMapPropagator()


class SpanExport(Protocol):
    """A `SpanExport` sends spans to a collector; `flush` and `stop` take `seconds` at most."""

    @property
    def tracer(self) -> Tracer: ...
    def flush(self, seconds: float) -> None: ...
    def stop(self, seconds: float) -> None: ...


class Tracing:
    """A `Tracing` makes the spans of one process. Until it is started, and where no endpoint is
    configured, it records nothing.

    Start it in the process whose spans it makes: its threads do not survive a fork.
    """

    def __init__(self, service: str = "", *, configured: bool = False) -> None:
        """Take the `service.name` for an environment that sets none."""
        self._service = service
        self._configured = configured
        self._exporting: SpanExport | None = None

    @classmethod
    def from_env(cls, service: str, environ: Mapping[str, str]) -> Self:
        """Read the OTEL_* variables.

        Raises `SettingsError` when they ask for an export that is impossible here.
        """
        return cls(service, configured=_is_configured(environ))

    def start(self) -> None:
        """Begin to export, where that is configured; it is safe to call twice."""
        if self._configured and self._exporting is None:
            if sys.modules.get(_METRICS, log) is None:
                del sys.modules[_METRICS]  # app/__init__.py blocks it; the SDK imports it
            module: Any = import_module("app.observability.span_export")
            try:
                self._exporting = module.start(self._service)
            except ValueError as error:  # numbers among the variables do not fit together
                log.error("traces are not sent: %s", error)  # noqa: TRY400  no traceback

    def flush(self, seconds: float) -> None:
        """Send the spans that have ended; return after `seconds`, whether they arrived or not."""
        if self._exporting:
            self._exporting.flush(seconds)

    def stop(self, seconds: float) -> None:
        """Send the rest and end; spans that have not arrived after `seconds` are lost."""
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
        """Record a span for the length of a `with`, below the current one, or below `parent`.

        The span names the type of an exception that leaves the `with`, and not its message, which
        may hold a user's text.
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
        """Make `parent` the current trace for the length of a `with`, without a span."""
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
    """Return the current span; without one, a span that records nothing."""
    return trace.get_current_span()


def failed(span: Span, why: str) -> None:
    """Mark a span as failed; `why` is a type or a reason, of which there are few."""
    span.set_attribute(ERROR, why)
    span.set_status(Status(StatusCode.ERROR, why))


def record(error: BaseException) -> None:
    """Put an unexpected error on the current span, with its traceback, as the log has it."""
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
    """Return the headers by which another process continues the current trace; empty without one.

    With `recorded` false, the flag `sampled` is off. The other process then knows the trace and
    makes no spans, unless its sampler ignores the flag.
    """
    found: dict[str, str] = {}
    _W3C.inject(found)
    if not recorded and "traceparent" in found:
        start, _, flags = found["traceparent"].rpartition("-")
        found["traceparent"] = f"{start}-{int(flags, 16) & ~_SAMPLED:02x}"
    if len(found.get("tracestate", "")) > _MAX_TRACESTATE:
        del found["tracestate"]
    return found


def extract(headers: Mapping[Any, Any]) -> dict[str, str]:
    """Return those headers that carry a trace, unchecked."""
    return {n: headers[n] for n in HEADERS if n in headers and isinstance(headers[n], str)}


def to_json() -> str:
    """Return the current trace as text for a build's record; empty without one."""
    found = carrier()
    return json.dumps(found) if found else ""


def from_json(text: str) -> dict[str, str] | None:
    """Return the headers of a trace that `to_json` wrote; None for any other text."""
    with suppress(ValueError):
        found = json.loads(text or "null")
        if isinstance(found, dict):
            return extract(found)
    return None


def environment() -> dict[str, str]:
    """Return the variables by which a program that this process starts continues the trace.

    OpenTelemetry names them in "Environment Variables as Context Propagation Carriers".
    """
    return {name.upper(): value for name, value in carrier().items()}


def ids() -> dict[str, str]:
    """Return the ids of trace and span for a log line; empty without a trace."""
    span = current().get_span_context()
    if not span.is_valid:
        return {}
    return {
        "trace_id": trace.format_trace_id(span.trace_id),
        "span_id": trace.format_span_id(span.span_id),
    }


def _read(parent: Mapping[str, str]) -> context.Context:
    return _W3C.extract(parent, context=context.Context())


def _is_configured(environ: Mapping[str, str]) -> bool:
    """Return whether spans are to be exported. Raises `SettingsError`."""
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
