"""OpenTelemetry's SDK sends spans to a collector; only where one is configured is this loaded.

Whatever the collector does, builds go on: spans wait in a bounded queue, a thread of the SDK sends
them, and those that cannot be sent are dropped, with a warning at most once in a while.
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

#: Milliseconds for which a span waits for others unless the environment says otherwise. A process
#: that is killed loses the spans of that time.
_BATCH_DELAY_MS: Final = 1000
#: Seconds for one delivery, retries included, unless the environment says otherwise.
_EXPORT_TIMEOUT: Final = 3
#: The least seconds between two warnings that traces do not arrive.
_WARNING_INTERVAL: Final = 300.0


def start(service: str) -> "Export":
    """Begin to export as the OTEL_* variables say; the SDK warns of a wrong one and goes on.

    Raises `ValueError` when numbers among them do not fit together.
    """
    library = logging.getLogger("opentelemetry")
    if not any(isinstance(each, _RateLimited) for each in library.handlers):
        library.addHandler(_RateLimited())
        library.propagate = False
    return Export(service)


class Export:
    """An `Export` owns the SDK's tracer, its queue of spans, and the thread that sends them."""

    def __init__(self, service: str) -> None:
        provider = TracerProvider(
            resource=Resource.create(
                {"service.version": version("baton"), **_service_name(service)}
            ),
            shutdown_on_exit=False,  # it would wait for the collector without a deadline
        )
        self._processor = BatchSpanProcessor(
            OTLPSpanExporter(timeout=None if _is_set("TIMEOUT") else _EXPORT_TIMEOUT),
            schedule_delay_millis=None
            if os.environ.get("OTEL_BSP_SCHEDULE_DELAY")
            else _BATCH_DELAY_MS,
        )
        provider.add_span_processor(self._processor)
        self.tracer: Tracer = provider.get_tracer("baton", version("baton"))
        self._flushing: threading.Thread | None = None

    def flush(self, seconds: float) -> None:
        """Send what has ended, and return after `seconds` at the latest.

        Only one flush runs at a time; behind a collector that hangs, they would pile up.
        """
        if self._flushing is None or not self._flushing.is_alive():
            self._flushing = _start_thread("flush", self._processor.force_flush)
            self._flushing.join(seconds)

    def stop(self, seconds: float) -> None:
        """Send the rest and end, and return after `seconds` at the latest."""
        _start_thread("stop", self._processor.shutdown).join(seconds)


def _start_thread(name: str, call: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=call, name=f"traces: {name}", daemon=True)
    thread.start()
    return thread


def _is_set(option: str) -> bool:
    """Return whether the environment sets this option of the exporter."""
    names = (f"TRACES_{option}", option)
    return any(os.environ.get(f"OTEL_EXPORTER_OTLP_{name}") for name in names)


def _service_name(service: str) -> dict[str, str]:
    named = "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    return {} if named or os.environ.get("OTEL_SERVICE_NAME") else {"service.name": service}


class _RateLimited(logging.Handler):
    """Logs the SDK's warnings in our words, at most one in each `_WARNING_INTERVAL`."""

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
