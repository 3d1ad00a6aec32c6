"""A user's token for a build token: what is asked, what is taken, and what it is good for."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from app.minting import ProviderRefused, ProviderUnavailable, TooShort, UnfitToken
from app.tokens.errors import InsufficientScope, InvalidToken, TokenError, WrongKind
from app.tokens.minting.client_authentication import AssertionKey, ClientSecretBasic, PrivateKeyJwt
from app.tokens.signing_key import SigningKey
from tests.support.providers.exchange_bench import ISSUER, KEY, SUBJECT_TOKEN, Exchanger, exchanger
from tests.support.providers.minting_bench import AUDIENCE, CLIENT, NAMESPACE, REQUEST, SECRET
from tests.support.servers.scripted_server import resets, says


@pytest.fixture
async def provider() -> AsyncIterator[Exchanger]:
    async with AsyncExitStack() as stack:
        yield await exchanger(stack)


# ── what is asked ─────────────────────────────────────────────────────────────────────────────


async def test_the_users_token_is_exchanged_for_one_that_speaks_for_this_build(
    provider: Exchanger,
) -> None:
    minted = await provider.exchange.exchange(SUBJECT_TOKEN, REQUEST)

    read = await provider.tokens.build(minted.token, REQUEST.build_id)
    assert read == minted.facts
    assert (read.user_id, read.build_id) == (REQUEST.user_id, REQUEST.build_id)
    assert (read.scope, read.audience, read.client_id) == ("update:builds", AUDIENCE, CLIENT)


async def test_the_provider_is_asked_for_the_one_scope_on_the_one_api(provider: Exchanger) -> None:
    await provider.exchange.exchange(SUBJECT_TOKEN, REQUEST)

    (heard,) = provider.server.heard
    assert heard.headers["content-type"] == "application/x-www-form-urlencoded"
    assert provider.asked == [
        {
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "subject_token": SUBJECT_TOKEN,
            "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
            "requested_token_type": "urn:ietf:params:oauth:token-type:access_token",
            "audience": AUDIENCE,
            "scope": "update:builds",
            "client_id": CLIENT,
            "client_secret": SECRET,
        }
    ]


async def test_an_api_may_be_named_as_a_resource() -> None:
    async with AsyncExitStack() as stack:
        provider = await exchanger(stack, target="resource")
        await provider.exchange.exchange(SUBJECT_TOKEN, REQUEST)

        assert provider.asked[0]["resource"] == AUDIENCE
        assert "audience" not in provider.asked[0]


async def test_a_basic_client_keeps_its_secret_out_of_the_body() -> None:
    async with AsyncExitStack() as stack:
        basic = ClientSecretBasic(client_id=CLIENT, client_secret=SECRET)
        provider = await exchanger(stack, basic)
        await provider.exchange.exchange(SUBJECT_TOKEN, REQUEST)

        assert "client_secret" not in provider.asked[0]
        heard = provider.server.heard[0].headers
        assert heard["authorization"] == basic.credentials().headers["Authorization"]


async def test_a_repetition_has_an_assertion_of_its_own() -> None:
    async with AsyncExitStack() as stack:
        signed = PrivateKeyJwt(CLIENT, AssertionKey(KEY), audience=ISSUER)
        provider = await exchanger(stack, signed)
        provider.first = [says({}, status=503), resets]

        await provider.exchange.exchange(SUBJECT_TOKEN, REQUEST)

        assert len({asked["client_assertion"] for asked in provider.asked}) == 3


# ── what is not taken ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"scope": "update:builds create:builds"}, "widened the token by scope 'create:builds'"),
        ({"scope": "update:builds profile email"}, "Keycloak: its default client scopes"),
        ({"scope": ""}, "did not grant 'update:builds'"),
        ({"scope": "read:builds"}, "widened the token by scope 'read:builds'"),
        ({"scope": None}, "did not grant 'update:builds'"),
        ({"aud": [AUDIENCE, "https://other.example.com/"]}, "remove the other audiences"),
        ({"aud": "https://api.example.com/"}, "is for https://api.example.com/ instead of only"),
        ({"aud": "https://other.example.com/"}, "another audience"),
        ({"client_id": "spa"}, "issued to client 'spa', not to the one that asked"),
        ({"sub": CLIENT}, "names the client as its subject"),
        ({"sub": f"{CLIENT}@clients"}, "names the client as its subject"),
        ({"sub": "auth0|bob"}, "names another user"),
        ({"act": {"sub": "somebody else"}}, "takes a build token"),
        ({"act": "baton-api"}, "takes a build token"),
        ({"gty": "client-credentials"}, "takes a build token"),
        ({f"{NAMESPACE}build_id": "bld_2"}, "another build's"),
        ({f"{NAMESPACE}build_id": 1}, "build_id is missing or not usable"),
        ({"cnf": {"jkt": "x"}}, "bound to a key"),
        ({"iss": "https://evil.example.com/"}, "issuer is not trusted"),
    ],
    ids=str,
)
async def test_a_token_that_is_not_what_was_asked_for_is_refused_with_what_to_change(
    provider: Exchanger, changes: dict[str, Any], sentence: str
) -> None:
    provider.changes = changes

    with pytest.raises(UnfitToken) as refused:
        await provider.exchange.exchange(SUBJECT_TOKEN, REQUEST)
    assert sentence in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"issued_token_type": None}, "without saying of which type"),
        ({"issued_token_type": "urn:ietf:params:oauth:token-type:id_token"}, "of another type"),
        ({"issued_token_type": ["x"]}, "of another type"),
        ({"token_type": "N_A"}, "did not issue a bearer token"),
        ({"token_type": "DPoP"}, "did not issue a bearer token"),
        ({"token_type": None}, "did not issue a bearer token"),
        ({"scope": "update:builds admin"}, "widened the token by scope 'admin'"),
        ({"scope": "read:builds"}, "widened"),
        ({"scope": 5}, "did not grant"),
    ],
    ids=str,
)
async def test_an_answer_that_says_something_else_is_refused(
    provider: Exchanger, changes: dict[str, Any], sentence: str
) -> None:
    provider.answer_changes = changes

    with pytest.raises(UnfitToken) as refused:
        await provider.exchange.exchange(SUBJECT_TOKEN, REQUEST)
    assert sentence in str(refused.value)


async def test_a_token_that_does_not_last_is_refused(provider: Exchanger) -> None:
    provider.lifetime = 600

    with pytest.raises(TooShort, match="raise the token lifetime"):
        await provider.exchange.exchange(SUBJECT_TOKEN, REQUEST)


@pytest.mark.parametrize("act", [{"sub": CLIENT}, {"client_id": CLIENT, "act": {"sub": "x"}}])
async def test_our_client_may_be_named_as_the_actor(
    provider: Exchanger, act: dict[str, Any]
) -> None:
    provider.changes = {"act": act}

    await provider.exchange.exchange(SUBJECT_TOKEN, REQUEST)


async def test_a_refusal_is_told_in_the_providers_words_without_secret(provider: Exchanger) -> None:
    said = {"error": "invalid_grant", "error_description": f"expired; you sent {SECRET}"}
    provider.first = [says(said, status=400)]

    with pytest.raises(ProviderRefused) as refused:
        await provider.exchange.exchange(SUBJECT_TOKEN, REQUEST)
    assert "(400): invalid_grant: expired; you sent ***" in str(refused.value)
    assert len(provider.server.heard) == 1


async def test_a_provider_that_asks_for_patience_is_named_with_how_much(
    provider: Exchanger,
) -> None:
    provider.first = [says({}, status=429, headers={"Retry-After": "30"})]

    with pytest.raises(ProviderUnavailable) as unavailable:
        await provider.exchange.exchange(SUBJECT_TOKEN, REQUEST)
    assert unavailable.value.retry_after == 30
    assert len(provider.server.heard) == 1


# ── what such a token is good for ─────────────────────────────────────────────────────────────


async def test_an_exchanged_token_opens_nothing_of_a_users(provider: Exchanger) -> None:
    for audience in (AUDIENCE, "https://api.example.com/"):
        with pytest.raises(WrongKind):
            await provider.tokens.verifier.user(provider.token(aud=audience))


async def test_an_exchanged_token_does_not_pass_for_a_minted_one(provider: Exchanger) -> None:
    claims = {f"{NAMESPACE}user_id": "auth0|bob", f"{NAMESPACE}build_id": "bld_1"}

    with pytest.raises(WrongKind):
        await provider.tokens.verifier.build(provider.token(**claims))


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"client_id": "spa"}, WrongKind),
        ({"sub": f"{CLIENT}@clients"}, WrongKind),
        ({"aud": ["https://api.example.com/", AUDIENCE]}, InvalidToken),
        ({"scope": "update:builds read:builds"}, InsufficientScope),
        ({"scope": ""}, InsufficientScope),
        ({f"{NAMESPACE}build_id": "bld_2"}, WrongKind),
        ({"exp": 1}, InvalidToken),
    ],
    ids=str,
)
async def test_other_tokens_do_not_pass_for_an_exchanged_one(
    provider: Exchanger, changes: dict[str, Any], error: type[TokenError]
) -> None:
    with pytest.raises(error):
        await provider.tokens.build(provider.token(**changes), "bld_1")


# ── one for each attempt ──────────────────────────────────────────────────────────────────────


async def test_each_attempt_gets_a_token_of_its_own(provider: Exchanger) -> None:
    minted = await provider.exchange.exchange_several(SUBJECT_TOKEN, REQUEST, 3)

    assert len({each.facts.token_id for each in minted}) == 3


async def test_tokens_without_jti_are_told_apart_by_their_second(provider: Exchanger) -> None:
    rsa = SigningKey.generate("RS256")  # signs the same claims the same way
    assert rsa.sign({"a": 1}, typ="JWT") == rsa.sign({"a": 1}, typ="JWT")
    provider.changes = {"jti": None}

    minted = await provider.exchange.exchange_several(SUBJECT_TOKEN, REQUEST, 2)

    assert minted[0].facts.token_id != minted[1].facts.token_id
    assert minted[0].facts.issued_at < minted[1].facts.issued_at
