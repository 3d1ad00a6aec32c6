"""Signing in as a user and an application would: the code flow with PKCE, over HTTP."""

import base64
import hashlib
import re
import secrets
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx

#: Nothing has to listen there: the code is read off the redirect.
REDIRECT_URI = "http://127.0.0.1:1/callback"

_TRANSACTION = re.compile(r'name="transaction" value="([\w-]+)"')


def user_token(
    issuer: str, *, user: str, scope: str, audience: str, client_id: str = "baton-spa"
) -> str:
    """An access token of the embedded issuer. Fails on anything but a sign-in that works."""
    tokens = user_tokens(issuer, user=user, scope=scope, audience=audience, client_id=client_id)
    token: str = tokens["access_token"]
    return token


def user_tokens(
    issuer: str, *, user: str, scope: str, audience: str, client_id: str = "baton-spa"
) -> dict[str, Any]:
    """All that the embedded issuer's token endpoint answers to a sign-in that works."""
    verifier = secrets.token_urlsafe(48)
    state = secrets.token_urlsafe(16)
    with httpx.Client(base_url=issuer, timeout=30, trust_env=False) as http:
        page = http.get(
            "/authorize",
            params={
                "response_type": "code",
                "client_id": client_id,
                "redirect_uri": REDIRECT_URI,
                "audience": audience,
                "scope": scope,
                "state": state,
                "code_challenge": challenge_of(verifier),
                "code_challenge_method": "S256",
            },
        )
        assert page.status_code == 200, page.text
        redirect = http.post(
            "/authorize", data={"transaction": transaction_of(page), "username": user}
        )
        assert redirect.status_code == 302, redirect.text
        answer = answer_in(redirect)
        assert answer["state"] == state
        assert answer["iss"] == issuer
        tokens = http.post(
            "/oauth/token",
            data={
                "grant_type": "authorization_code",
                "client_id": client_id,
                "code": answer["code"],
                "redirect_uri": REDIRECT_URI,
                "code_verifier": verifier,
            },
        )
        assert tokens.status_code == 200, tokens.text
        told: dict[str, Any] = tokens.json()
        return told


def challenge_of(verifier: str) -> str:
    """RFC 7636 §4.2, S256."""
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def transaction_of(page: httpx.Response) -> str:
    found = _TRANSACTION.search(page.text)
    assert found, page.text
    return found[1]


def answer_in(redirect: httpx.Response) -> dict[str, str]:
    """What a redirect hands to the application, in its query."""
    query = parse_qs(urlsplit(redirect.headers["location"]).query, strict_parsing=True)
    return {name: value for name, [value] in query.items()}
