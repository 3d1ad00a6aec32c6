"""What every answer tells browsers, so that they make no more of it than it is."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: An answer of the API is data: it loads nothing, runs nothing, and is shown in no frame.
DATA_POLICY: Final = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

#: A page of ours that runs no program and talks to nobody.
READING_POLICY: Final = (
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)

#: Seconds for which browsers come back by https only: a year.
_HTTPS_ONLY: Final = 365 * 24 * 3600

_STATIC: Final[Mapping[str, str]] = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",  # for browsers that do not know frame-ancestors
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    # Against <img> and <script> of other sites; calls by CORS are not affected (Fetch §3.7).
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), usb=()",
}


def page_policy(*, issuer_origin: str) -> str:
    """The Content-Security-Policy of a page of ours, which talks to the API and signs in at
    `issuer_origin` (`https://login.example.com`)."""
    return (
        "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self'; "
        "img-src 'self' data:; "
        f"connect-src 'self' {issuer_origin}; form-action 'self' {issuer_origin}; "
        "base-uri 'none'; frame-ancestors 'none'"
    )


def fixed_headers(*, https: bool) -> dict[str, str]:
    """What an answer has unless it says otherwise itself; `https`: whether clients come by it."""
    headers = {**_STATIC, "Content-Security-Policy": DATA_POLICY, "Cache-Control": "no-store"}
    if https:  # RFC 6797 §7.2: not over http
        headers["Strict-Transport-Security"] = f"max-age={_HTTPS_ONLY}"
    return headers


class SecurityHeaders:
    """ASGI middleware, to stand outside of everything else; bodies pass untouched, piece by piece.

    What an answer sets itself is kept: a page its own policy, a document its own caching.
    """

    def __init__(self, app: ASGIApp, *, https: bool) -> None:
        self._app = app
        self._headers = [
            (name.lower().encode("ascii"), value.encode("ascii"))
            for name, value in fixed_headers(https=https).items()
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = message.get("headers", [])
                names = {name.lower() for name, _ in own}
                missing = [each for each in self._headers if each[0] not in names]
                message = {**message, "headers": [*own, *missing]}
            await send(message)

        await self._app(scope, receive, with_headers)


def with_security_headers(app: Starlette, url: str) -> Starlette:
    """Outside of Starlette's own middleware, whose answers to failures need them, too."""
    https = urlsplit(url).scheme == "https"
    app.middleware_stack = SecurityHeaders(app.build_middleware_stack(), https=https)
    return app
