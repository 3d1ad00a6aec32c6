"""Security headers tell browsers not to run, frame, sniff, cache or embed a response."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: The policy of data: a response of the API loads nothing, runs nothing, and is framed nowhere.
DATA_POLICY: Final = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

#: The policy of a page without scripts and connections.
READING_POLICY: Final = (
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)

#: Seconds for which browsers use https only: a year.
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
    """Return the Content-Security-Policy of a page that calls the API and signs in at an issuer.

    `issuer_origin` is like `https://login.example.com`.
    """
    return (
        "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self'; "
        "img-src 'self' data:; "
        f"connect-src 'self' {issuer_origin}; form-action 'self' {issuer_origin}; "
        "base-uri 'none'; frame-ancestors 'none'"
    )


def fixed_headers(*, https: bool) -> dict[str, str]:
    """Return the headers of a response that sets none of them; `https`: clients use https."""
    headers = {**_STATIC, "Content-Security-Policy": DATA_POLICY, "Cache-Control": "no-store"}
    if https:  # RFC 6797 §7.2: not over http
        headers["Strict-Transport-Security"] = f"max-age={_HTTPS_ONLY}"
    return headers


class SecurityHeaders:
    """This ASGI middleware adds the missing headers to each response, and leaves its body alone.

    A header that the response sets itself stays: the policy of a page, the caching of a document.
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
    """Put the middleware outside of Starlette's, whose error responses need the headers, too."""
    https = urlsplit(url).scheme == "https"
    app.middleware_stack = SecurityHeaders(app.build_middleware_stack(), https=https)
    return app
