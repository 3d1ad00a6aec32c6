"""`HttpProtocol` bounds what a connection may send, and how long it may take.

The application gets only whole, well-formed request heads.
"""

from asyncio import TimerHandle, Transport
from collections.abc import Sequence
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.api.middleware.security_headers import fixed_headers
from app.contract.problems import MEDIA_TYPE, TYPE_PREFIX, Code, Problem

#: Bytes of a request line and headers, give or take one read: twice what common proxies send on.
_MAX_HEAD: Final = 64 * 1024

#: Seconds for a request's head to arrive; an idle new connection is closed after them, too.
_HEAD_TIMEOUT: Final = 60.0

#: Seconds for a body to arrive after its head, however many of its bytes come at a time.
_BODY_TIMEOUT: Final = 60.0

#: Seconds for which a client may read nothing of its response: a person's pager may stand still.
_WRITE_TIMEOUT: Final = 600.0

#: Connections beyond the limit that get a 503; more are closed without a response.
_MAX_REFUSED_CONNECTIONS: Final = 100


def _answer(status: int, title: str, code: Code, detail: str, **more: str) -> bytes:
    problem = Problem(type=TYPE_PREFIX + code, title=title, status=status, detail=detail)
    body = problem.model_dump_json(exclude_none=True).encode()
    headers = {
        "Content-Type": MEDIA_TYPE,
        "Content-Length": str(len(body)),
        "Connection": "close",  # where the next request would begin is unknown
        **fixed_headers(https=False),
        **more,
    }
    lines = [f"HTTP/1.1 {status} {title}", *(f"{name}: {text}" for name, text in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("ascii") + body


_NOT_HTTP: Final = _answer(
    400,
    "Bad Request",
    Code.BAD_REQUEST,
    "these bytes are no HTTP/1.1 request: send one request line, one Host, valid headers, and "
    "either Content-Length or Transfer-Encoding: chunked",
)
_HEAD_TOO_LARGE: Final = _answer(
    431,  # RFC 6585 §5
    "Request Header Fields Too Large",
    Code.TOO_LARGE,
    f"the request line and headers are larger than {_MAX_HEAD} bytes",
)


_BODY_TOO_SLOW: Final = _answer(
    408,
    "Request Timeout",
    Code.TOO_SLOW,
    f"the body did not arrive within {_BODY_TIMEOUT:.0f} s",
)
_TOO_MANY_CONNECTIONS: Final = _answer(
    503,
    "Service Unavailable",
    Code.UNAVAILABLE,
    "too many connections are open here; BATON_MAX_CONNECTIONS is the setting",
    **{"Retry-After": "2"},
)


def _check_head(version: str, headers: Sequence[tuple[bytes, bytes]]) -> None:
    """Refuse what llhttp lets pass. Raises `ValueError`, which the parser turns into a 400."""
    if version not in {"1.0", "1.1"}:
        raise ValueError("another protocol")
    hosts = sum(name == b"host" for name, _ in headers)
    if hosts > 1 or (version == "1.1" and hosts == 0):  # RFC 9112 §3.2
        raise ValueError("not one Host")
    codings = [value.lower() for name, value in headers if name == b"transfer-encoding"]
    if codings and (version == "1.0" or codings != [b"chunked"]):  # RFC 9112 §6.1
        raise ValueError("a transfer coding that is not understood")


def bounded(max_connections: int) -> type["HttpProtocol"]:
    """Return the protocol for a server with at most `max_connections` at once."""

    class Bounded(HttpProtocol):
        _max_connections = max_connections

    return Bounded


class HttpProtocol(HttpToolsProtocol):
    """An `HttpProtocol` is one connection: uvicorn's protocol, with bounds that it does not have.

    uvicorn bounds neither a head, nor the time for a head and for a body, nor the time for which a
    client reads nothing of its response. uvicorn's httptools protocol is named here, instead of
    chosen by what is installed, because llhttp refuses what two readers could take for different
    requests (RFC 9112 §6.1, §11.2). The event loop calls the methods.
    """

    _max_connections = 1000
    _surplus = False  #: whether this connection is beyond the limit
    _head_bytes = 0
    _advanced = False  #: whether the last read had more than an unfinished head
    _in_head = True
    _in_body = False
    _requests = 0
    _awaited: tuple[str, int] | None = None  #: the part that is due, and the request's number
    _read_timer: TimerHandle | None = None
    _write_timer: TimerHandle | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        surplus = len(self.connections) - self._max_connections
        if surplus > _MAX_REFUSED_CONNECTIONS:
            transport.abort()
        self._surplus = surplus > 0
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._read_timer, self._write_timer):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._surplus:  # after the first read: unread bytes would reset our response
            self.transport.write(_TOO_MANY_CONNECTIONS)
            self.transport.close()
            return
        self._advanced = False
        super().data_received(data)
        if not self._advanced and (self.cycle is None or self.cycle.response_complete):
            self._in_head = True  # empty lines before a head do not begin one for the parser
        self._head_bytes = 0 if self._advanced else self._head_bytes + len(data)
        if self._head_bytes > _MAX_HEAD and not self.transport.is_closing():
            self._refuse(_HEAD_TOO_LARGE)
        self._expect()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._requests += 1
        self._in_head = True

    def on_headers_complete(self) -> None:
        self._advanced = True
        self._in_head = False
        _check_head(self.parser.get_http_version(), self.headers)
        super().on_headers_complete()
        self._in_body = True

    def on_body(self, body: bytes) -> None:
        self._advanced = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_body = False
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        del msg
        self._refuse(_NOT_HTTP)

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._write_timer is None:
            self._write_timer = self.loop.call_later(_WRITE_TIMEOUT, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def _refuse(self, answer: bytes) -> None:
        begun = self.cycle is not None and self.cycle.response_started
        if not (begun and (self._in_body or not self.cycle.response_complete)):
            self.transport.write(answer)  # else a request would get two responses
        self.transport.close()

    def _expect(self) -> None:
        """Set the timer for the part of a request that is due; most requests arrive at once."""
        awaited = None
        if self._in_body:
            awaited = ("body", self._requests)
        elif self._in_head:
            awaited = ("head", self._requests)
        if awaited == self._awaited:
            return
        self._awaited = awaited
        if self._read_timer is not None:
            self._read_timer.cancel()
            self._read_timer = None
        if awaited is not None:
            seconds = _BODY_TIMEOUT if self._in_body else _HEAD_TIMEOUT
            self._read_timer = self.loop.call_later(seconds, self._time_out)

    def _time_out(self) -> None:
        if self._in_body:
            self._refuse(_BODY_TOO_SLOW)
        else:
            self.transport.close()
