"""What the issuer's tokens say, in Auth0's default dialect: `azp` and `gty`, no `jti`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.issuer import paths
from app.issuer.config import IssuerConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class SignIn:
    """A user who signed in to an application, and what the application may do for them."""

    user_id: str  #: `sub`, like auth0|ann
    name: str
    client_id: str
    scopes: Sequence[str]
    nonce: str | None


def machine_token(
    config: IssuerConfig, *, now: int, client_id: str, added: Mapping[str, str]
) -> dict[str, Any]:
    """An access token that a client gets for itself. `scope` is its grant, whatever it asked."""
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
    """An access token for an application that acts for a user."""
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
    """OpenID Connect Core §2: who signed in, for the application itself."""
    claims = {
        "iss": config.issuer,
        "sub": sign_in.user_id,
        "aud": sign_in.client_id,
        "iat": now,
        "exp": now + config.user_token_lifetime,
        **about(sign_in.name, sign_in.scopes),
    }
    return claims if sign_in.nonce is None else claims | {"nonce": sign_in.nonce}


def about(name: str, scopes: Sequence[str]) -> dict[str, Any]:
    """What the scopes `profile` and `email` reveal (OpenID Connect Core §5.4); the name is all
    that is known, and an address only where it is one."""
    claims: dict[str, Any] = {}
    if "profile" in scopes:
        claims |= {"name": name, "nickname": name}
    if "email" in scopes and "@" in name:
        claims |= {"email": name, "email_verified": False}
    return claims
