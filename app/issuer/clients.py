"""The issuer's three clients, and how they authenticate."""

import base64
import binascii
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final, Self
from urllib.parse import unquote_plus

from starlette.requests import Request

from app.issuer.config import IssuerConfig
from app.issuer.errors import OAuthError
from app.issuer.parameters import Parameters, optional

CLIENT_CREDENTIALS: Final = "client_credentials"
AUTHORIZATION_CODE: Final = "authorization_code"
REFRESH_TOKEN: Final = "refresh_token"  # noqa: S105
DEVICE_CODE: Final = "urn:ietf:params:oauth:grant-type:device_code"  #: RFC 8628 §3.4

#: RFC 8252 §7.3: a native application listens on any port that is free.
_LOOPBACK: Final = re.compile(r"(http://(?:127\.0\.0\.1|\[::1\]|localhost))(?::\d+)?([/?].*)?\Z")


@dataclass(frozen=True, kw_only=True, slots=True)
class Client:
    """A registered client."""

    client_id: str
    grant_types: frozenset[str]
    secret: str | None = field(default=None, repr=False)  #: None: a public client
    redirect_uris: Sequence[str] = ()


class Clients:
    """`Clients` finds and authenticates clients."""

    def __init__(self, *clients: Client) -> None:
        self._clients = {client.client_id: client for client in clients}

    @classmethod
    def of(cls, config: IssuerConfig) -> Self:
        """Return the clients of the configuration: machine-to-machine, SPA and terminal."""
        return cls(
            Client(
                client_id=config.mint_client_id,
                grant_types=frozenset({CLIENT_CREDENTIALS}),
                secret=config.mint_client_secret,
            ),
            Client(
                client_id=config.spa_client_id,
                grant_types=frozenset({AUTHORIZATION_CODE, REFRESH_TOKEN}),
                redirect_uris=config.redirect_uris,
            ),
            Client(
                client_id=config.cli_client_id,
                grant_types=frozenset({AUTHORIZATION_CODE, DEVICE_CODE, REFRESH_TOKEN}),
                redirect_uris=config.cli_redirect_uris,
            ),
        )

    def signing_in(self, client_id: str | None) -> Client | None:
        """Return the client of that id, if users sign in to it with a browser."""
        client = self._clients.get(client_id or "")
        return client if client and AUTHORIZATION_CODE in client.grant_types else None

    def authenticate(self, request: Request, parameters: Parameters) -> Client:
        """Return the client that sent a request. Raises `OAuthError`.

        It authenticates with HTTP Basic, or with `client_id` and `client_secret` in the body, never
        with both (RFC 6749 §2.3).
        """
        client_id, secret = optional(parameters, "client_id"), optional(parameters, "client_secret")
        basic = "authorization" in request.headers
        if basic:
            header_id, header_secret = _basic(request.headers["authorization"])
            if secret is not None or client_id not in {None, header_id}:
                raise OAuthError("invalid_request", "the client identifies itself in two ways")
            client_id, secret = header_id, header_secret
        if client_id is None:
            raise _refused("the client does not identify itself", basic=basic)
        return self._check_secret(client_id, secret, basic=basic)

    def authenticate_basic(self, request: Request) -> Client:
        """Return the client that HTTP Basic names, for requests without a body. Raises
        `OAuthError`."""
        client_id, secret = _basic(request.headers.get("authorization", ""))
        return self._check_secret(client_id, secret, basic=True)

    def _check_secret(self, client_id: str, secret: str | None, *, basic: bool) -> Client:
        client = self._clients.get(client_id)
        expected = client.secret if client else None
        proven = hmac.compare_digest((secret or "").encode(), (expected or "").encode())
        if client is None or not proven:
            raise _refused("unknown client or wrong secret", basic=basic)
        return client


def _basic(header: str) -> tuple[str, str]:
    """Parse HTTP Basic (RFC 7617), whose id and secret are form-encoded first (RFC 6749 §2.3.1)."""
    scheme, _, credentials = header.partition(" ")
    if scheme.lower() != "basic":
        raise _refused("identify the client with HTTP Basic", basic=True)
    try:
        decoded = base64.b64decode(credentials.strip(), validate=True).decode()
    except (binascii.Error, ValueError):
        raise _refused("the Authorization header is not HTTP Basic", basic=True) from None
    client_id, _, secret = decoded.partition(":")
    return unquote_plus(client_id), unquote_plus(secret)


def _refused(why: str, *, basic: bool) -> OAuthError:
    return OAuthError("invalid_client", why, status=HTTPStatus.UNAUTHORIZED, basic=basic)


def may_redirect(uri: str, allowed: Sequence[str]) -> bool:
    """Return whether a redirect URI is a registered one.

    It must be equal character by character (RFC 9700 §2.1), except for the port on loopback.
    """
    return any(uri == known or _equal_except_port(uri, known) for known in allowed)


def _equal_except_port(uri: str, known: str) -> bool:
    ours, theirs = _LOOPBACK.match(known), _LOOPBACK.match(uri)
    return bool(ours and theirs and ours.groups() == theirs.groups())
