"""An OpenTelemetry collector that keeps what it gets: a real server that speaks OTLP/HTTP."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Received, Status

from tests.support.waiting import wait_until


@dataclass(frozen=True, kw_only=True)
class Span:
    """A span as it arrived; ids in hex, a root's parent empty."""

    name: str
    service: str
    trace: str
    id: str
    parent: str
    kind: str
    failed: bool
    why: str  #: the description of its status
    begun: int  #: nanoseconds
    ended: int
    attributes: dict[str, Any]
    events: list[tuple[str, dict[str, Any]]]


@dataclass
class Collector:
    """Everything that was exported, by any process."""

    url: str = ""
    bodies: list[bytes] = field(default_factory=list)
    hangs: threading.Event = field(default_factory=threading.Event)  #: answers nobody while set
    freed: threading.Event = field(default_factory=threading.Event)
    knocks: int = 0

    @property
    def spans(self) -> list[Span]:
        return [span for body in list(self.bodies) for span in _spans(body)]

    def of(self, trace: str) -> list[Span]:
        """One trace, in the order in which its spans began."""
        return sorted((s for s in self.spans if s.trace == trace), key=lambda span: span.begun)

    def wait_for(self, trace: str, *names: str) -> list[Span]:
        """The trace, once it has spans with these names, as many of each as it stands here."""

        def there() -> bool:
            return Counter(names) <= Counter(span.name for span in self.of(trace))

        try:
            wait_until(f"there are spans {', '.join(names)}", there)
        except AssertionError as error:
            tree = [(s.service, s.name, s.attributes) for s in self.spans]
            raise AssertionError(f"{error}; there are {tree}") from None
        return self.of(trace)


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector on a free loopback port."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            collector.knocks += 1
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if collector.hangs.is_set():
                collector.freed.wait(60)
                return
            known = self.path == "/v1/traces"
            assert self.headers["Content-Type"] == "application/x-protobuf"
            if known:
                collector.bodies.append(body)
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(200 if known else 404)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Pytest has better things to show."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, name="collector")
        thread.start()
        try:
            yield collector
        finally:
            collector.freed.set()
            server.shutdown()
            thread.join(30)


def _spans(body: bytes) -> Iterator[Span]:
    for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        resource = _attributes(of_resource.resource.attributes)
        for of_scope in of_resource.scope_spans:
            for span in of_scope.spans:
                yield _span(span, str(resource["service.name"]))


def _span(span: Received, service: str) -> Span:
    return Span(
        name=span.name,
        service=service,
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        kind=Received.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        failed=span.status.code == Status.STATUS_CODE_ERROR,
        why=span.status.message,
        begun=span.start_time_unix_nano,
        ended=span.end_time_unix_nano,
        attributes=_attributes(span.attributes),
        events=[(event.name, _attributes(event.attributes)) for event in span.events],
    )


def _attributes(found: Any) -> dict[str, Any]:
    return {each.key: _value(each.value) for each in found}


def _value(value: AnyValue) -> Any:
    return getattr(value, value.WhichOneof("value") or "string_value")
