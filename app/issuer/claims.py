"""The claims of the issuer's tokens, in Auth0's default dialect: `azp` and `gty`, no `jti`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.issuer import paths
from app.issuer.config import IssuerConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class SignIn:
    """A user who signed in to an application, and the scopes that the application got."""

    user_id: str  #: `sub`, like auth0|ann
    name: str
    client_id: str
    scopes: Sequence[str]
    nonce: str | None


def machine_token(
    config: IssuerConfig, *, now: int, client_id: str, added: Mapping[str, str]
) -> dict[str, Any]:
    """Return the claims of a client credentials token; `scope` is the client's grant, whatever it
    asked."""
    return {
        **added,
        "iss": config.issuer,
        "sub": f"{client_id}@clients",
        "aud": config.mint_audience,
        "iat": now,
        "exp": now + config.mint_token_lifetime,
        "scope": " ".join(sorted(config.mint_scopes)),
        "gty": "client-credentials",
        "azp": client_id,
    }


def user_token(config: IssuerConfig, sign_in: SignIn, *, now: int) -> dict[str, Any]:
    """Return the claims of an access token for an application that acts for a user."""
    return {
        "iss": config.issuer,
        "sub": sign_in.user_id,
        "aud": [config.audience, config.url(paths.USERINFO)],
        "iat": now,
        "exp": now + config.user_token_lifetime,
        "scope": " ".join(sign_in.scopes),
        "azp": sign_in.client_id,
    }


def id_token(config: IssuerConfig, sign_in: SignIn, *, now: int) -> dict[str, Any]:
    """Return the claims of an ID token (OpenID Connect Core §2), which tells the application who
    signed in."""
    claims = {
        "iss": config.issuer,
        "sub": sign_in.user_id,
        "aud": sign_in.client_id,
        "iat": now,
        "exp": now + config.user_token_lifetime,
        **profile_claims(sign_in.name, sign_in.scopes),
    }
    return claims if sign_in.nonce is None else claims | {"nonce": sign_in.nonce}


def profile_claims(name: str, scopes: Sequence[str]) -> dict[str, Any]:
    """Return the claims that the scopes `profile` and `email` reveal (OpenID Connect Core §5.4).

    The issuer knows the user's name only, which is an email address if it has an `@`.
    """
    claims: dict[str, Any] = {}
    if "profile" in scopes:
        claims |= {"name": name, "nickname": name}
    if "email" in scopes and "@" in name:
        claims |= {"email": name, "email_verified": False}
    return claims
