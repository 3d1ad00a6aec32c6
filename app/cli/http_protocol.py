"""What the server does with bytes before they are a request: refuse, bound, and not wait forever.

The application hears only of whole, well-formed request heads.
"""

from asyncio import TimerHandle, Transport
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.api.headers import fixed_headers
from app.contract.problems import MEDIA_TYPE, TYPE_PREFIX, Code, Problem

#: Bytes of a request line and headers, within one read more: twice what common proxies send on.
_MAX_HEAD: Final = 64 * 1024

#: Seconds for a request's head to arrive; a connection that says nothing does not stay longer.
_HEAD_SECONDS: Final = 60.0


def _answer(status: int, title: str, code: Code, detail: str) -> bytes:
    problem = Problem(type=TYPE_PREFIX + code, title=title, status=status, detail=detail)
    body = problem.model_dump_json(exclude_none=True).encode()
    headers = {
        "Content-Type": MEDIA_TYPE,
        "Content-Length": str(len(body)),
        "Connection": "close",  # where the next request would begin, nobody can say
        **fixed_headers(https=False),
    }
    lines = [f"HTTP/1.1 {status} {title}", *(f"{name}: {text}" for name, text in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("ascii") + body


_NOT_HTTP: Final = _answer(
    400,
    "Bad Request",
    Code.BAD_REQUEST,
    "these bytes are no HTTP request: send one request line, valid headers, and either "
    "Content-Length or Transfer-Encoding",
)
_HEAD_TOO_LARGE: Final = _answer(
    431,  # RFC 6585 §5
    "Request Header Fields Too Large",
    Code.TOO_LARGE,
    f"the request line and headers are larger than {_MAX_HEAD} bytes",
)


class HttpProtocol(HttpToolsProtocol):
    """uvicorn's, which neither bounds a head nor its time.

    Chosen by name, not by what is installed: llhttp refuses what two readers could take for
    different requests (RFC 9112 §6.1, §11.2).
    """

    _head_bytes = 0
    _advanced = False  #: something other than an unfinished head was in the last read
    _head_timer: TimerHandle | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_arrived()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._advanced = False
        super().data_received(data)
        self._head_bytes = 0 if self._advanced else self._head_bytes + len(data)
        if self._head_bytes > _MAX_HEAD and not self.transport.is_closing():
            self._refuse(_HEAD_TOO_LARGE)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._head_timer is None:
            self._expect_head()

    def on_headers_complete(self) -> None:
        self._advanced = True
        self._head_arrived()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._advanced = True
        super().on_body(body)

    def send_400_response(self, msg: str) -> None:
        del msg
        self._refuse(_NOT_HTTP)

    def _refuse(self, answer: bytes) -> None:
        self.transport.write(answer)
        self.transport.close()

    def _expect_head(self) -> None:
        self._head_timer = self.loop.call_later(_HEAD_SECONDS, self.transport.close)

    def _head_arrived(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
