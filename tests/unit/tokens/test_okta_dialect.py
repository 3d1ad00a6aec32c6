"""Okta's spelling of a token: `cid` for the client, a list `scp` for its scopes; taken only from an
issuer that is said to write so."""

from typing import Any

import pytest

from app.tokens.errors import InsufficientScope, InvalidToken, TokenError, WrongKind
from app.tokens.exchanged import ExchangedTokens
from app.tokens.keys import StaticKeys
from app.tokens.verifier import Dialect, Policy, TrustedIssuer, Verifier
from tests.unit.tokens.signed import (
    AUDIENCE,
    BUILD,
    CLIENT,
    ISSUER,
    MINT_AUDIENCE,
    NAMESPACE,
    NOW,
    RSA_KEY,
    rsa_jwk,
    signed,
    usable,
)


def okta(dialect: Dialect = "okta") -> Verifier:
    trusted = TrustedIssuer(
        issuer=ISSUER,
        keys=StaticKeys([usable(rsa_jwk(RSA_KEY, kid="rsa"), "RS256")]),
        algorithms=frozenset({"RS256"}),
        dialect=dialect,
    )
    policy = Policy(
        audience=AUDIENCE,
        mint_audience=MINT_AUDIENCE,
        namespace=NAMESPACE,
        minting_clients=frozenset({CLIENT}),
        delegated=frozenset({"update:builds"}),
    )
    return Verifier([trusted], policy, clock=lambda: NOW)


def claims(**changes: Any) -> dict[str, Any]:
    """As Okta's custom authorization servers write them; None takes a claim away."""
    found = {
        "ver": 1,
        "jti": "AT.0mP4JKAZX1iACIT4vbEDF7LpvDVjxypPMf0D7uX39RE",
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "ann@example.com",
        "iat": NOW,
        "exp": NOW + 3600,
        "cid": "spa",
        "uid": "00ujmkLgagxeRrAg20g3",
        "scp": ["openid", "create:builds", "update:builds"],
    } | changes
    return {name: value for name, value in found.items() if value is not None}


def exchanged(**changes: Any) -> dict[str, Any]:
    return claims(**{"cid": CLIENT, "scp": ["update:builds"], "aud": MINT_AUDIENCE} | changes)


async def test_its_user_tokens_are_read() -> None:
    user = await okta().user(signed(claims()))

    assert (user.user_id, user.client_id) == ("ann@example.com", "spa")
    assert user.scopes == {"openid", "create:builds", "update:builds"}


async def test_its_exchanged_tokens_are_read() -> None:
    build = await ExchangedTokens(okta()).build(signed(exchanged()), BUILD)

    assert (build.user_id, build.build_id) == ("ann@example.com", BUILD)
    assert (build.client_id, build.scope) == (CLIENT, "update:builds")


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"scp": ["update:builds", "read:builds"]}, InsufficientScope),
        ({"scp": []}, InsufficientScope),
        ({"scp": None}, InsufficientScope),
        ({"scp": None, "scope": "update:builds"}, InsufficientScope),
        ({"scp": "update:builds"}, InvalidToken),
        ({"scp": ["update:builds read:builds"]}, InvalidToken),
        ({"scp": ["update:builds", 5]}, InvalidToken),
        ({"scp": {"update:builds": True}}, InvalidToken),
        ({"cid": "spa"}, WrongKind),
        ({"cid": None, "client_id": CLIENT}, InvalidToken),
        ({"cid": None, "azp": CLIENT}, InvalidToken),
        ({"cid": [CLIENT]}, InvalidToken),
        ({"sub": CLIENT}, WrongKind),
    ],
    ids=str,
)
async def test_what_is_spelt_otherwise_is_refused(
    changes: dict[str, Any], error: type[TokenError]
) -> None:
    with pytest.raises(error):
        await ExchangedTokens(okta()).build(signed(exchanged(**changes)), BUILD)


async def test_its_machines_are_no_users() -> None:
    for machine in (claims(sub="spa", uid=None), claims(cid=CLIENT)):
        with pytest.raises(WrongKind):
            await okta().user(signed(machine))


async def test_from_other_issuers_its_spelling_says_nothing() -> None:
    with pytest.raises(InvalidToken, match="for which client"):
        await okta("standard").user(signed(claims()))
    user = await okta("standard").user(signed(claims(azp="spa")))
    assert user.scopes == frozenset()
