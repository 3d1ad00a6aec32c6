"""`Resource` and `Provider` read what an API and its issuer publish about signing in."""

from dataclasses import dataclass
from typing import Any, Self

import httpx

from app.cli.display.terminal_sanitizer import sanitized
from app.cli.sign_in.calls import SignInFailed, ask_json, checked
from app.contract import paths


@dataclass(frozen=True, kw_only=True, slots=True)
class Resource:
    """A `Resource` is what an API says about tokens for it (RFC 9728)."""

    url: str  #: the API's own identifier, to be compared with the URL that was asked (§3.3)
    issuer: str
    client_id: str | None  #: of the terminal's client at the issuer
    audience: str | None

    @classmethod
    def ask(cls, http: httpx.Client, api_url: str) -> Self:
        """Fetch the API's metadata. Raises `SignInFailed`."""
        found = ask_json(http, "GET", api_url.rstrip("/") + paths.PROTECTED_RESOURCE)
        servers = found.get("authorization_servers")
        issuer = servers[0] if isinstance(servers, list) and servers else None
        if not isinstance(issuer, str):
            raise SignInFailed(f"the API at {api_url} names no issuer")
        return cls(
            url=str(found.get("resource")),
            issuer=issuer,
            client_id=_text(found, "baton_cli_client_id"),
            audience=_text(found, "baton_audience"),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Provider:
    """A `Provider` is an issuer and its endpoints; those that it does not have are None."""

    issuer: str
    authorization_endpoint: str | None
    token_endpoint: str
    device_authorization_endpoint: str | None
    revocation_endpoint: str | None
    names_itself: bool  #: whether its authorization responses carry `iss` (RFC 9207 §3)

    @classmethod
    def discover(cls, http: httpx.Client, issuer: str) -> Self:
        """Fetch the issuer's metadata (OpenID Connect Discovery 1.0 §4).

        Raises `SignInFailed`, also when it names another issuer, or an endpoint in the clear.
        """
        checked(issuer, "the issuer")
        found = ask_json(http, "GET", issuer.rstrip("/") + "/.well-known/openid-configuration")
        if found.get("issuer") != issuer:
            raise SignInFailed(f"{issuer} calls itself {sanitized(str(found.get('issuer')))}")
        token_endpoint = _endpoint(found, "token_endpoint")
        if token_endpoint is None:
            raise SignInFailed(f"{issuer} has no token endpoint")
        return cls(
            issuer=issuer,
            authorization_endpoint=_endpoint(found, "authorization_endpoint"),
            token_endpoint=token_endpoint,
            device_authorization_endpoint=_endpoint(found, "device_authorization_endpoint"),
            revocation_endpoint=_endpoint(found, "revocation_endpoint"),
            names_itself=found.get("authorization_response_iss_parameter_supported") is True,
        )


def _text(found: dict[str, Any], name: str) -> str | None:
    value = found.get(name)
    return value if isinstance(value, str) and value else None


def _endpoint(found: dict[str, Any], name: str) -> str | None:
    url = _text(found, name)
    return None if url is None else checked(url, f"the issuer's {name}")
