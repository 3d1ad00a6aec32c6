"""User tokens and build tokens: what each opens, and that none opens both doors."""

from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from app.tokens.errors import InsufficientScope, InvalidToken, TokenError, WrongKind
from app.tokens.keys import StaticKeys
from app.tokens.verifier import TrustedIssuer, Verifier
from tests.unit.tokens.signed import (
    AUDIENCE,
    BUILD,
    CLIENT,
    ISSUER,
    MINT_AUDIENCE,
    NAMESPACE,
    NOW,
    OTHER_ISSUER,
    build_claims,
    signed,
    signed_es256,
    user_claims,
    verifier,
)

USER_ID = f"{NAMESPACE}user_id"
BUILD_ID = f"{NAMESPACE}build_id"


async def test_a_build_token_names_its_build() -> None:
    build = await verifier().build(signed(build_claims()))

    assert (build.user_id, build.build_id) == ("auth0|ann", BUILD)
    assert (build.issuer, build.audience, build.client_id) == (ISSUER, MINT_AUDIENCE, CLIENT)
    assert build.scope == "update:builds"
    assert (build.issued_at, build.expires_at) == (NOW, NOW + 86400)


async def test_a_build_token_of_rfc_9068_has_no_gty_and_is_one_all_the_same() -> None:
    claims = build_claims(azp=None, gty=None, client_id=CLIENT, jti="1")

    build = await verifier().build(signed(claims, typ="at+jwt"))

    assert build.build_id == BUILD


async def test_a_build_token_opens_nothing_of_a_users() -> None:
    with pytest.raises(WrongKind):
        await verifier().user(signed(build_claims()))


async def test_a_user_token_opens_nothing_of_a_workers_whatever_it_claims() -> None:
    forged = user_claims(scope="update:builds", aud=MINT_AUDIENCE)

    for claims in (user_claims(), forged | {USER_ID: "auth0|ann", BUILD_ID: BUILD}):
        with pytest.raises(WrongKind):
            await verifier().build(signed(claims))


@pytest.mark.parametrize(
    "machine",
    [
        {"azp": CLIENT},
        {"gty": "client-credentials"},
        {"sub": "other@clients"},
        {"sub": "spa"},
        {"azp": "other", "sub": "other@clients", "gty": "client-credentials"},
    ],
    ids=["minting client", "gty", "sub of a client", "sub is the client", "all of it"],
)
async def test_a_machine_does_not_pass_for_a_user(machine: dict[str, str]) -> None:
    with pytest.raises(WrongKind):
        await verifier().user(signed(user_claims(**machine)))


async def test_a_user_token_is_for_this_api_not_only_for_its_builds() -> None:
    with pytest.raises(InvalidToken, match="audience"):
        await verifier().user(signed(user_claims(aud=MINT_AUDIENCE)))


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"azp": "other-m2m", "sub": "other-m2m@clients"}, WrongKind),
        ({"sub": "auth0|ann"}, WrongKind),
        ({"sub": "other@clients"}, WrongKind),
        ({"sub": CLIENT}, WrongKind),
        ({"gty": "password"}, WrongKind),
        ({"gty": "refresh_token"}, WrongKind),
        ({"gty": ""}, WrongKind),
        ({"aud": AUDIENCE}, InvalidToken),
        ({"aud": [MINT_AUDIENCE, AUDIENCE]}, InvalidToken),
        ({"aud": [MINT_AUDIENCE, MINT_AUDIENCE]}, InvalidToken),
        ({"scope": "read:builds update:builds"}, InsufficientScope),
        ({"scope": "read:builds"}, InsufficientScope),
        ({"scope": "Update:builds"}, InsufficientScope),
        ({"scope": ""}, InsufficientScope),
        ({"scope": None}, InsufficientScope),
        ({"scope": None, "permissions": ["update:builds"]}, InsufficientScope),
        ({USER_ID: None}, InvalidToken),
        ({USER_ID: ""}, InvalidToken),
        ({USER_ID: ["auth0|ann"]}, InvalidToken),
        ({USER_ID: "a" * 513}, InvalidToken),
        ({USER_ID: None, "user_id": "auth0|ann"}, InvalidToken),
        ({USER_ID: None, "https://evil.example/user_id": "auth0|ann"}, InvalidToken),
        ({BUILD_ID: None}, InvalidToken),
        ({BUILD_ID: ""}, InvalidToken),
        ({BUILD_ID: 7}, InvalidToken),
        ({BUILD_ID: "bld_1\nbld_2"}, InvalidToken),
    ],
    ids=str,
)
async def test_what_is_not_quite_a_build_token_is_none(
    changes: dict[str, Any], error: type[TokenError]
) -> None:
    with pytest.raises(error):
        await verifier().build(signed(build_claims(**changes)))


async def test_a_refusal_for_scope_names_what_is_needed() -> None:
    with pytest.raises(InsufficientScope) as refusal:
        await verifier().build(signed(build_claims(scope="read:builds")))

    assert refusal.value.needed == {"update:builds"}


async def test_with_a_minting_issuer_named_no_other_mints() -> None:
    strict = verifier(minting_issuers=frozenset({OTHER_ISSUER}))

    with pytest.raises(WrongKind):
        await strict.build(signed(build_claims()))
    assert (await strict.user(signed(user_claims()))).user_id == "auth0|ann"


CLAIMS = st.fixed_dictionaries(
    {
        "azp": st.sampled_from([CLIENT, "spa", "other"]),
        "sub": st.sampled_from([f"{CLIENT}@clients", "auth0|ann", "spa", "other@clients", CLIENT]),
        "aud": st.sampled_from(
            [AUDIENCE, MINT_AUDIENCE, [AUDIENCE], [AUDIENCE, MINT_AUDIENCE], [MINT_AUDIENCE]]
        ),
        "gty": st.sampled_from([None, "client-credentials", "password", ""]),
        "scope": st.sampled_from([None, "update:builds", "read:builds update:builds", ""]),
        USER_ID: st.sampled_from([None, "auth0|ann", ""]),
        BUILD_ID: st.sampled_from([None, BUILD]),
    }
)


@settings(max_examples=400)
@given(CLAIMS, st.booleans(), st.booleans())
async def test_no_token_opens_both_doors(
    changes: dict[str, Any], one_audience: bool, rfc_9068: bool
) -> None:
    policy = {"mint_audience": AUDIENCE} if one_audience else {}
    checks = verifier(**policy)
    more = {"client_id": changes["azp"], "jti": "1"} if rfc_9068 else {}
    token = signed_es256(build_claims(**changes, **more), typ="at+jwt" if rfc_9068 else "JWT")

    opened = []
    for check in (checks.user, checks.build):
        try:
            opened.append(await check(token))
        except TokenError:
            continue

    assert len(opened) <= 1


@pytest.mark.parametrize(
    "algorithms",
    [{"HS256"}, {"none"}, {"RS256", "HS512"}, set()],
    ids=["HS256", "none", "two", "no"],
)
def test_an_issuer_is_trusted_only_with_asymmetric_algorithms(algorithms: set[str]) -> None:
    with pytest.raises(ValueError, match="algorithms"):
        TrustedIssuer(issuer=ISSUER, keys=StaticKeys([]), algorithms=frozenset(algorithms))


def test_an_issuer_has_one_set_of_keys() -> None:
    trusted = TrustedIssuer(issuer=ISSUER, keys=StaticKeys([]), algorithms=frozenset({"RS256"}))

    with pytest.raises(ValueError, match="twice"):
        Verifier([trusted, trusted], verifier().policy)
