"""What the server does with bytes before they are a request: refuse, bound, and not wait forever.

The application hears only of whole, well-formed request heads.
"""

from asyncio import TimerHandle, Transport
from collections.abc import Sequence
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.api.middleware.security_headers import fixed_headers
from app.contract.problems import MEDIA_TYPE, TYPE_PREFIX, Code, Problem

#: Bytes of a request line and headers, within one read more: twice what common proxies send on.
_MAX_HEAD: Final = 64 * 1024

#: Seconds for a request's head to arrive; a connection that says nothing does not stay longer.
_HEAD_SECONDS: Final = 60.0

#: Seconds for a body to arrive after its head, however many of its bytes come at a time.
_BODY_SECONDS: Final = 60.0

#: Seconds for which a client may take nothing of its answer: a person's pager may stand still.
_TAKE_SECONDS: Final = 600.0

#: Connections beyond those allowed that are told so; more are closed without a word.
_TOLD: Final = 100


def _answer(status: int, title: str, code: Code, detail: str, **more: str) -> bytes:
    problem = Problem(type=TYPE_PREFIX + code, title=title, status=status, detail=detail)
    body = problem.model_dump_json(exclude_none=True).encode()
    headers = {
        "Content-Type": MEDIA_TYPE,
        "Content-Length": str(len(body)),
        "Connection": "close",  # where the next request would begin, nobody can say
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
    f"the body did not arrive within {_BODY_SECONDS:.0f} s",
)
_TOO_MANY_CONNECTIONS: Final = _answer(
    503,
    "Service Unavailable",
    Code.UNAVAILABLE,
    "too many connections are open here; BATON_MAX_CONNECTIONS is the setting",
    **{"Retry-After": "2"},
)


def _check_head(version: str, headers: Sequence[tuple[bytes, bytes]]) -> None:
    """What llhttp lets pass. Raises `ValueError`, which the parser makes a refusal of."""
    if version not in {"1.0", "1.1"}:
        raise ValueError("another protocol")
    hosts = sum(name == b"host" for name, _ in headers)
    if hosts > 1 or (version == "1.1" and hosts == 0):  # RFC 9112 §3.2
        raise ValueError("not one Host")
    codings = [value.lower() for name, value in headers if name == b"transfer-encoding"]
    if codings and (version == "1.0" or codings != [b"chunked"]):  # RFC 9112 §6.1
        raise ValueError("a transfer coding that is not understood")


def bounded(max_connections: int) -> type["HttpProtocol"]:
    """The protocol of a server that keeps so many connections at once."""

    class Bounded(HttpProtocol):
        _max_connections = max_connections

    return Bounded


class HttpProtocol(HttpToolsProtocol):
    """uvicorn's, which bounds neither a head, nor the time for it and for a body, nor the time that
    a client takes nothing of its answer.

    Chosen by name, not by what is installed: llhttp refuses what two readers could take for
    different requests (RFC 9112 §6.1, §11.2).
    """

    _max_connections = 1000
    _surplus = False  #: one connection more than there may be
    _head_bytes = 0
    _advanced = False  #: something other than an unfinished head was in the last read
    _in_head = True
    _in_body = False
    _requests = 0
    _awaited: tuple[str, int] | None = None  #: the part that is waited for, and of which request
    _arrival: TimerHandle | None = None
    _taking: TimerHandle | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        surplus = len(self.connections) - self._max_connections
        if surplus > _TOLD:
            transport.abort()
        self._surplus = surplus > 0
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._arrival, self._taking):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._surplus:  # not before something was said: unread bytes would break our answer off
            self.transport.write(_TOO_MANY_CONNECTIONS)
            self.transport.close()
            return
        self._advanced = False
        super().data_received(data)
        if not self._advanced and (self.cycle is None or self.cycle.response_complete):
            self._in_head = True  # empty lines before a head are the beginning of none
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
        if self._taking is None:
            self._taking = self.loop.call_later(_TAKE_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._taking is not None:
            self._taking.cancel()
            self._taking = None

    def _refuse(self, answer: bytes) -> None:
        begun = self.cycle is not None and self.cycle.response_started
        if not (begun and (self._in_body or not self.cycle.response_complete)):
            self.transport.write(answer)  # else a request would have two answers
        self.transport.close()

    def _expect(self) -> None:
        """See to it that what has begun comes to an end; most requests are whole at once."""
        awaited = None
        if self._in_body:
            awaited = ("body", self._requests)
        elif self._in_head:
            awaited = ("head", self._requests)
        if awaited == self._awaited:
            return
        self._awaited = awaited
        if self._arrival is not None:
            self._arrival.cancel()
            self._arrival = None
        if awaited is not None:
            seconds = _BODY_SECONDS if self._in_body else _HEAD_SECONDS
            self._arrival = self.loop.call_later(seconds, self._not_arrived)

    def _not_arrived(self) -> None:
        if self._in_body:
            self._refuse(_BODY_TOO_SLOW)
        else:
            self.transport.close()
