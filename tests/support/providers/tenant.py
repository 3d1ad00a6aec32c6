"""A tenant of the embedded issuer: one API, its builds' API, one machine, two for users."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import jwt

from app.contract.scopes import DELEGATED
from app.issuer.config import IssuerConfig
from app.tokens.jwks import JwksCache
from app.tokens.verifier import Policy, TrustedIssuer, Verifier

AUDIENCE = "https://api.example.com/"
MINT_AUDIENCE = "https://builds.example.com/"
SECRET = "a secret with : and % and é"
NAMESPACE = "https://example.com/"
ORIGIN = "https://app.example.com"
BUILD = "bld_01ARZ3NDEKTSV4RRFFQ69G5FAV"
SCOPE = "openid profile email read:builds create:builds update:builds"


def config(url: str, **changed: Any) -> IssuerConfig:
    settings: dict[str, Any] = {
        "issuer": f"{url}/",
        "audience": AUDIENCE,
        "mint_audience": MINT_AUDIENCE,
        "mint_client_id": "baton-api",
        "mint_client_secret": SECRET,
        "redirect_uris": ("http://127.0.0.1/callback", "https://app.example.com/cb?kept=1"),
        "allowed_origins": (ORIGIN,),
    }
    return IssuerConfig(**{**settings, **changed})


def verified(http: httpx.Client, token: str, audience: str) -> dict[str, Any]:
    """The claims of a token whose signature fits the published keys."""
    keys = jwt.PyJWKSet.from_dict(http.get("/.well-known/jwks.json").json())
    header = jwt.get_unverified_header(token)
    assert header["alg"] == "RS256"
    assert header["typ"] == "JWT"
    payload: dict[str, Any] = jwt.decode(
        token, keys[header["kid"]], algorithms=["RS256"], audience=audience
    )
    return payload


def mint(http: httpx.Client, **changed: Any) -> httpx.Response:
    """A token request as the API sends it; None takes a member away."""
    members = {
        "grant_type": "client_credentials",
        "client_id": "baton-api",
        "client_secret": SECRET,
        "audience": MINT_AUDIENCE,
        "user_id": "auth0|ann",
        "build_id": BUILD,
    } | changed
    return http.post(
        "/oauth/token", json={name: value for name, value in members.items() if value is not None}
    )


def assert_refused(answer: httpx.Response, status: int, error: str) -> None:
    assert (answer.status_code, answer.json()["error"]) == (status, error), answer.text
    assert answer.json()["error_description"]
    assert answer.headers["cache-control"] == "no-store"


@asynccontextmanager
async def verifying(issuer: str) -> AsyncIterator[Verifier]:
    """The API's own verifier, which trusts the tenant."""
    async with httpx.AsyncClient(trust_env=False) as http:
        algorithms = frozenset({"RS256"})
        keys = JwksCache(f"{issuer}.well-known/jwks.json", http, algorithms)
        try:
            yield Verifier(
                [TrustedIssuer(issuer=issuer, keys=keys, algorithms=algorithms)],
                Policy(
                    audience=AUDIENCE,
                    mint_audience=MINT_AUDIENCE,
                    namespace=NAMESPACE,
                    minting_clients=frozenset({"baton-api"}),
                    delegated=DELEGATED,
                ),
            )
        finally:
            await keys.close()
