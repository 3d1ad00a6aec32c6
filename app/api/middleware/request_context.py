"""`RequestContext` begins the log context and the span of a request.

The log lines of a request have the build's id, if its path has one. Its span follows
OpenTelemetry's semantic conventions for HTTP servers: it is named by the route, and is a child of
the caller's when the caller sent `traceparent`. Requests that come every few seconds while a build
runs, and those of monitoring, are in the trace without a span: theirs would bury all others.
"""

import re
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.builds.ids import PATTERN
from app.contract import paths
from app.observability import log_context, tracing
from app.observability.redaction import without_secrets
from app.observability.tracing import Kind, Span, Tracing

#: The key in a request's scope for its route, which the endpoint's wrapper sets.
ROUTE: Final = "baton.route"

_BUILD: Final = re.compile(r"/builds/([^/]+)(?:/|\Z)")
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_NO_SPAN: Final = frozenset({("GET", paths.HEALTHZ), ("GET", paths.READYZ), ("GET", paths.METRICS)})
_SERVER_ERROR: Final = 500


class RequestContext:
    """`RequestContext` is ASGI middleware, and has to be the outermost."""

    def __init__(self, app: ASGIApp, traces: Tracing) -> None:
        self._app = app
        self._traces = traces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        found = _BUILD.search(scope["path"])
        build_id = found[1] if found and PATTERN.match(found[1]) else None
        # It is not reset: the server logs its own line about the request afterwards.
        log_context.begin(**({"build_id": build_id} if build_id else {}))
        if not self._traces.on:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        caller = {n: ",".join(headers.getlist(n)) for n in tracing.HEADERS if n in headers}
        if _is_frequent(scope["method"], scope["path"]):
            with self._traces.within(caller):
                await self._app(scope, receive, send)
            return
        method = scope["method"] if scope["method"] in _METHODS else "_OTHER"
        with self._traces.span(
            method if method in _METHODS else "HTTP",
            kind=Kind.SERVER,
            parent=caller,
            attributes={
                "http.request.method": method,
                "url.scheme": scope["scheme"],
                **({tracing.BUILD: build_id} if build_id else {}),
            },
        ) as span:
            await self._app(scope, receive, _recording(span, scope, send))


def _recording(span: Span, scope: Scope, send: Send) -> Send:
    async def send_and_record(message: Message) -> None:
        if message["type"] == "http.response.start":
            route = scope.get(ROUTE)
            if route is not None:
                span.update_name(f"{scope['method']} {route}")
                span.set_attribute("http.route", route)
                # A path without a route is left out: it is made up, and may hold anything.
                span.set_attribute("url.path", without_secrets(scope["path"]))
            span.set_attribute("http.response.status_code", message["status"])
            if message["status"] >= _SERVER_ERROR:
                tracing.failed(span, str(message["status"]))
        await send(message)

    return send_and_record


def _is_frequent(method: str, path: str) -> bool:
    last = path.rpartition("/")[2]
    return (
        (method, path) in _NO_SPAN
        or (method == "POST" and last == paths.HEARTBEAT.rpartition("/")[2])
        or (method == "PATCH" and last == paths.LOG.rpartition("/")[2])
    )
