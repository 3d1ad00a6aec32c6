"""Where the browser comes back to: an HTTP server on loopback, for one answer (RFC 8252 §7.3)."""

import base64
import hashlib
import html
import queue
import threading
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import parse_qsl, urlsplit

from app.cli.sign_in.calls import SignInFailed
from app.cli.sign_in.code import same

HOST: Final = "127.0.0.1"
PATH: Final = "/callback"

#: Seconds for a request; browsers also open connections on which they say nothing.
_REQUEST: Final = 10
#: Seconds for which the browser waits to hear how it ended: the code is being redeemed meanwhile.
_VERDICT: Final = 30

_STYLE: Final = (
    ":root{color-scheme:light dark}"
    "body{font:1.1rem/1.5 system-ui,sans-serif;max-width:32rem;margin:20vh auto;padding:0 1rem}"
)
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title} · Baton</title>
<meta name="viewport" content="width=device-width"><style>{style}</style></head>
<body><h1>{title}</h1><p>{text}</p></body></html>
"""
_HEADERS: Final = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",  # the code is in the URL
    "X-Content-Type-Options": "nosniff",
    "Connection": "close",
}


class Loopback:
    """Listens from its making until its context ends; answers that lack `state` are nobody's."""

    def __init__(self, port: int, *, state: str) -> None:
        """`port` 0 is any free one. Raises `SignInFailed` when it is taken."""
        self._answers: queue.Queue[dict[str, str]] = queue.Queue()
        self._first = threading.Lock()  # taken by the answer, and never given back
        self._verdict: queue.Queue[tuple[str, str]] = queue.Queue(1)
        self._told = threading.Event()
        listening = self

        class Handler(_Handler):
            loopback = listening

        try:
            self._server = _Server((HOST, port), Handler)
        except OSError as error:
            raise SignInFailed(
                f"cannot listen on {HOST}:{port} ({error.strerror}): choose another --port"
            ) from error
        self._state = state
        self.authority = f"{HOST}:{self._server.server_port}"
        self.redirect_uri = f"http://{self.authority}{PATH}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True
        )
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def wait(self, seconds: float) -> Mapping[str, str]:
        """The parameters of the one answer. Raises `SignInFailed` when none comes in time."""
        try:
            return self._answers.get(timeout=seconds)
        except queue.Empty:
            raise SignInFailed(
                f"nobody signed in for {seconds / 60:.0f} minutes: run the command again"
            ) from None

    def tell(self, title: str, text: str) -> None:
        """Show the browser, which waits for it, how it ended."""
        self._verdict.put((title, text))
        self._told.wait(_REQUEST)

    def take(self, target: str) -> tuple[HTTPStatus, str, str] | None:
        """What to say to a request for `target`: status, title, text; None for the one answer."""
        url = urlsplit(target)
        if url.path != PATH:
            return HTTPStatus.NOT_FOUND, "Not found", "There is nothing here."
        pairs = parse_qsl(url.query, keep_blank_values=True)
        answer = dict(pairs)
        # RFC 6749 §3.1: a parameter comes once.
        if len(answer) != len(pairs) or not same(answer.get("state", ""), self._state):
            text = "This is not the answer to the sign-in that the terminal waits for."
            return HTTPStatus.BAD_REQUEST, "Not expected", text
        if not self._first.acquire(blocking=False):
            return HTTPStatus.BAD_REQUEST, "Not expected", "This sign-in was answered already."
        self._answers.put(answer)
        return None

    def verdict(self) -> tuple[str, str]:
        try:
            return self._verdict.get(timeout=_VERDICT)
        except queue.Empty:
            return "The terminal has the answer", "Go back to it to see how it ended."

    def told(self) -> None:
        self._told.set()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # HTTPServer would ask the DNS for the address's name, too
        self.server_name, self.server_port = HOST, self.socket.getsockname()[1]

    def handle_error(self, *_: Any) -> None:  # noqa: ANN401  the library's own arguments
        """Nothing: the browser has gone, and the terminal is not the place to show a traceback."""


class _Handler(BaseHTTPRequestHandler):
    loopback: Loopback
    timeout = _REQUEST
    server_version, sys_version = "Baton", ""

    def do_GET(self) -> None:
        # A page of elsewhere whose name leads here (DNS rebinding) has another host.
        if self.headers.get("Host") != self.loopback.authority:
            self._say(HTTPStatus.NOT_FOUND, "Not found", "There is nothing here.")
            return
        said = self.loopback.take(self.path)
        if said is not None:
            self._say(*said)
            return
        try:
            self._say(HTTPStatus.OK, *self.loopback.verdict())
        finally:
            self.loopback.told()

    def _say(self, status: HTTPStatus, title: str, text: str) -> None:
        page = _PAGE.format(style=_STYLE, title=html.escape(title), text=html.escape(text))
        body = page.encode()
        self.send_response(status)
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:  # noqa: ANN401  the library's own arguments
        """Nothing: the request has the code in it."""
