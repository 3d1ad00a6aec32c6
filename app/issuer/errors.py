"""OAuth errors, and the one place where they become responses."""

from http import HTTPStatus
from typing import Literal

from starlette.responses import JSONResponse

Code = Literal[
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "invalid_scope",
    "unauthorized_client",
    "unsupported_grant_type",
    "unsupported_response_type",
    "access_denied",
    "authorization_pending",
    "slow_down",
    "expired_token",
    "unsupported_token_type",
    "login_required",
    "not_found",
    "server_error",
]

#: RFC 6749 §5.1: no response of the token endpoint may be cached.
NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}


class OAuthError(Exception):
    """An OAuth error response (RFC 6749 §5.2, §4.1.2.1; RFC 8628 §3.5; RFC 7009 §2.2.1).

    `basic` asks for HTTP Basic credentials; `close` closes the connection.
    """

    def __init__(
        self,
        code: Code,
        description: str,
        *,
        status: int = HTTPStatus.BAD_REQUEST,
        basic: bool = False,
        close: bool = False,
    ) -> None:
        self.code = code
        self.description = _allowed(description)
        self.status = status
        self.basic = basic
        self.close = close
        super().__init__(self.description)

    def response(self) -> JSONResponse:
        headers = dict(NO_STORE)
        if self.basic:
            headers["WWW-Authenticate"] = 'Basic realm="baton issuer", charset="UTF-8"'
        if self.close:
            headers["Connection"] = "close"
        body = {"error": self.code, "error_description": self.description}
        return JSONResponse(body, self.status, headers)


def _allowed(text: str) -> str:
    """Return the text in the characters of RFC 6749 §5.2: %x20-21 / %x23-5B / %x5D-7E."""
    return "".join(c if " " <= c <= "~" and c not in '"\\' else "'" for c in text)
