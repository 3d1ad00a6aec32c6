"""Sending spans to a collector, by OpenTelemetry's SDK; loaded only where that is configured.

Whatever the collector does, builds go on: spans wait in a queue with a bound, a thread of the SDK's
sends them, and what cannot be sent is dropped, with a warning now and then.
"""

import logging
import os
import threading
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Tracer

log = logging.getLogger(__name__)

#: Milliseconds for which a span waits for others, where the environment does not say: what a
#: process that is killed takes with it.
_BATCH_DELAY_MS: Final = 1000
#: Seconds for one delivery, its repetitions included, where the environment does not say.
_EXPORT_TIMEOUT: Final = 3
#: Seconds between two warnings that traces do not arrive.
_WARNING_INTERVAL: Final = 300.0


def start(service: str) -> "Export":
    """Begin to export, as the OTEL_* variables say. The SDK warns of a wrong one and goes on."""
    library = logging.getLogger("opentelemetry")
    if not any(isinstance(each, _Seldom) for each in library.handlers):
        library.addHandler(_Seldom())
        library.propagate = False
    return Export(service)


class Export:
    def __init__(self, service: str) -> None:
        provider = TracerProvider(
            resource=Resource.create({"service.version": version("baton"), **_named(service)}),
            shutdown_on_exit=False,  # it would wait for as long as the collector likes
        )
        self._processor = BatchSpanProcessor(
            OTLPSpanExporter(timeout=None if _says("TIMEOUT") else _EXPORT_TIMEOUT),
            schedule_delay_millis=None
            if os.environ.get("OTEL_BSP_SCHEDULE_DELAY")
            else _BATCH_DELAY_MS,
        )
        provider.add_span_processor(self._processor)
        self.tracer: Tracer = provider.get_tracer("baton", version("baton"))
        self._flushing: threading.Thread | None = None

    def flush(self, seconds: float) -> None:
        """One at a time: behind a collector that hangs, they would pile up."""
        if self._flushing is None or not self._flushing.is_alive():
            self._flushing = _begin("flush", self._processor.force_flush)
            self._flushing.join(seconds)

    def stop(self, seconds: float) -> None:
        _begin("stop", self._processor.shutdown).join(seconds)


def _begin(name: str, call: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=call, name=f"traces: {name}", daemon=True)
    thread.start()
    return thread


def _says(what: str) -> bool:
    """Whether the environment has such an option of the exporter."""
    return any(os.environ.get(f"OTEL_EXPORTER_OTLP_{name}") for name in (f"TRACES_{what}", what))


def _named(service: str) -> dict[str, str]:
    named = "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    return {} if named or os.environ.get("OTEL_SERVICE_NAME") else {"service.name": service}


class _Seldom(logging.Handler):
    """Takes what the SDK logs, and says the gist of it at most once in a while."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._last = -_WARNING_INTERVAL

    def emit(self, record: logging.LogRecord) -> None:
        now = time.monotonic()
        if now - self._last >= _WARNING_INTERVAL:
            self._last = now
            log.warning(
                "traces do not arrive, builds go on without (said once in %.0f s): %s",
                _WARNING_INTERVAL,
                record.getMessage()[:500],
            )
