"""`Loopback` takes the redirect of one sign-in on 127.0.0.1 (RFC 8252 §7.3)."""

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

#: Seconds for a request; browsers also open connections on which they send none.
_REQUEST_TIMEOUT: Final = 10
#: Seconds for which the browser waits for the outcome, while the code is redeemed.
_OUTCOME_TIMEOUT: Final = 30

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
    """A `Loopback` listens from its constructor until its context ends.

    The command's thread calls `wait`, then `show_outcome`. Requests are served in threads of their
    own, which use `take`, `outcome` and `outcome_shown`. The first request with `state` is the one
    answer; all others get an error page.
    """

    def __init__(self, port: int, *, state: str) -> None:
        """Listen on `port`, 0 for any free one. Raises `SignInFailed` when it is in use."""
        self._answers: queue.Queue[dict[str, str]] = queue.Queue()
        self._first = threading.Lock()  # acquired by the answer, and never released
        self._outcome: queue.Queue[tuple[str, str]] = queue.Queue(1)
        self._shown = threading.Event()
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
        """Wait for the one answer; return its parameters.

        Raises `SignInFailed` when none comes within `seconds`.
        """
        try:
            return self._answers.get(timeout=seconds)
        except queue.Empty:
            raise SignInFailed(
                f"nobody signed in for {seconds / 60:.0f} minutes: run the command again"
            ) from None

    def show_outcome(self, title: str, text: str) -> None:
        """Show the outcome in the browser, which waits for it; call once, after `wait`."""
        self._outcome.put((title, text))
        self._shown.wait(_REQUEST_TIMEOUT)

    def take(self, target: str) -> tuple[HTTPStatus, str, str] | None:
        """Take a request for `target`; return status, title and text of an error page, or None.

        None is for the one answer, whose page is the `outcome`.
        """
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

    def outcome(self) -> tuple[str, str]:
        """Wait for the outcome; return title and text of its page."""
        try:
            return self._outcome.get(timeout=_OUTCOME_TIMEOUT)
        except queue.Empty:
            return "The terminal has the answer", "Go back to it to see how it ended."

    def outcome_shown(self) -> None:
        """Let `show_outcome` return: the page was sent, or the browser has gone."""
        self._shown.set()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # HTTPServer would also look the address's name up in the DNS
        self.server_name, self.server_port = HOST, self.socket.getsockname()[1]

    def handle_error(self, *_: Any) -> None:  # noqa: ANN401  the library's own arguments
        """Ignore the error: the browser has gone, and a traceback would spoil the terminal."""


class _Handler(BaseHTTPRequestHandler):
    loopback: Loopback
    timeout = _REQUEST_TIMEOUT
    server_version, sys_version = "Baton", ""

    def do_GET(self) -> None:
        # A page of another site whose name resolves to here (DNS rebinding) sends another Host.
        if self.headers.get("Host") != self.loopback.authority:
            self._send_page(HTTPStatus.NOT_FOUND, "Not found", "There is nothing here.")
            return
        error = self.loopback.take(self.path)
        if error is not None:
            self._send_page(*error)
            return
        try:
            self._send_page(HTTPStatus.OK, *self.loopback.outcome())
        finally:
            self.loopback.outcome_shown()

    def _send_page(self, status: HTTPStatus, title: str, text: str) -> None:
        page = _PAGE.format(style=_STYLE, title=html.escape(title), text=html.escape(text))
        body = page.encode()
        self.send_response(status)
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:  # noqa: ANN401  the library's own arguments
        """Log nothing: the request's URL has the code in it."""
