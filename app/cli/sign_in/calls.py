"""These functions call an authorization server, and raise one of these errors.

SignInFailed
├── Refused    the server answered with an error code (RFC 6749 §5.2)
└── NoAnswer   the server gave no usable answer; a retry may help
"""

from http import HTTPStatus
from typing import Any, Final

import httpx

from app.cli.display.terminal_sanitizer import sanitized

_TIMEOUT: Final = 10.0  #: seconds

_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")


class SignInFailed(Exception):
    """No token was obtained; the message says why."""


class Refused(SignInFailed):
    """The server answered with an error."""

    def __init__(self, answer: dict[str, Any]) -> None:
        self.code = str(answer.get("error"))
        description = str(answer.get("error_description") or answer.get("error"))
        super().__init__(f"the issuer refused: {sanitized(description)}")


class NoAnswer(SignInFailed):
    """The server cannot be reached, is out of order, or is no authorization server."""


def client() -> httpx.Client:
    """Make a client, for the caller to close.

    The client follows no redirects, and uses the environment's proxies except for loopback.
    """
    direct = {f"all://{f'[{host}]' if ':' in host else host}": None for host in _LOOPBACK}
    return httpx.Client(timeout=_TIMEOUT, mounts=direct)


def checked(url: str, what: str) -> str:
    """Return `url` if secrets may be sent there: by https, or within this machine (RFC 8252 §8.3).

    Raises `SignInFailed`, whose message calls the URL `what`.
    """
    try:
        parts = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise SignInFailed(f"{what} {sanitized(url)} is not a URL") from error
    if not parts.host or not (
        parts.scheme == "https" or (parts.scheme == "http" and parts.host in _LOOPBACK)
    ):
        raise SignInFailed(
            f"{what} {sanitized(url)} is not https: tokens do not travel in the clear"
        )
    return url


def ask(
    http: httpx.Client,
    method: str,
    url: str,
    **request: Any,  # noqa: ANN401  httpx's own arguments
) -> httpx.Response:
    """Send a request; return the response, whatever its status. Raises `NoAnswer`."""
    try:
        return http.request(method, url, **request)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        where = sanitized(url.partition("?")[0])
        raise NoAnswer(f"cannot reach {where}: {error or type(error).__name__}") from error


def ask_json(
    http: httpx.Client,
    method: str,
    url: str,
    **request: Any,  # noqa: ANN401  httpx's own arguments
) -> dict[str, Any]:
    """Send a request; return the JSON object of a successful response.

    Raises `Refused` for an error with a JSON object, and `NoAnswer` for 429, 5xx and all else.
    """
    answer = ask(http, method, url, **request)
    try:
        body = answer.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise NoAnswer(f"{sanitized(url)} answered {answer.status_code} without JSON")
    if answer.is_success:
        return body
    if answer.status_code == HTTPStatus.TOO_MANY_REQUESTS or answer.is_server_error:
        raise NoAnswer(f"{sanitized(url)} answered {answer.status_code}")
    raise Refused(body)
