"""Build tokens from a third party's provider, npm's `oidc-provider`, over real HTTP.

Nothing here is scripted: the provider reads our requests, and writes its tokens, by its own code.
"""

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from app.minting import ProviderRefused, UnfitToken
from app.tokens.claims import UnverifiedToken
from app.tokens.errors import WrongKind
from app.tokens.minting.client_authentication import (
    AssertionAlg,
    AssertionKey,
    ClientSecretBasic,
    ClientSecretPost,
    PrivateKeyJwt,
)
from app.tokens.signing_key import SigningKey
from tests.support.providers.oidc_provider import (
    API,
    BUILDS,
    CLIENT,
    SECRET,
    Alg,
    Dialect,
    OidcProvider,
    client,
    spa,
)
from tests.support.providers.relying import POST, REQUEST, relying

pytestmark = pytest.mark.slow

BASIC = ClientSecretBasic(client_id=CLIENT, client_secret=SECRET)
RSA, EC = AssertionKey(SigningKey.generate("RS256")), AssertionKey(SigningKey.generate("ES256"))


@pytest.fixture(scope="module")
def shared() -> Iterator[OidcProvider]:
    """For tests that change nothing about it."""
    with OidcProvider() as provider:
        yield provider


@pytest.fixture
def provider() -> Iterator[OidcProvider]:
    with OidcProvider() as provider:
        yield provider


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


# ── both grants, in both dialects, with both algorithms ───────────────────────────────────────


@pytest.mark.parametrize("dialect", ["auth0", "rfc9068"])
@pytest.mark.parametrize("alg", ["RS256", "ES256"])
async def test_its_tokens_are_what_they_should_be_and_open_no_other_door(
    stack: AsyncExitStack, alg: Alg, dialect: Dialect
) -> None:
    with OidcProvider(alg=alg, dialect=dialect) as provider:
        baton = await relying(stack, provider)
        users = provider.user_token()

        minted = await baton.minter().mint(REQUEST)
        exchanged = await baton.exchange().exchange(users, REQUEST)

        for each in (minted, exchanged):
            header = UnverifiedToken.parse(each.token).unverified_header
            assert header["alg"] == alg
            assert header["typ"] == ("JWT" if dialect == "auth0" else "at+jwt")
            facts = each.facts
            assert (facts.user_id, facts.build_id) == (REQUEST.user_id, REQUEST.build_id)
            assert (facts.scope, facts.audience, facts.client_id) == (
                "update:builds", BUILDS, CLIENT,
            )  # fmt: skip
        claims = UnverifiedToken.parse(exchanged.token).unverified_payload
        assert claims["sub"] == "auth0|ann"
        assert claims[{"auth0": "azp", "rfc9068": "client_id"}[dialect]] == CLIENT
        # Each kind has its own door (RFC 8725 §3.12).
        assert (await baton.verifier.user(users)).user_id == "auth0|ann"
        assert await baton.verifier.build(minted.token) == minted.facts
        assert await baton.exchanged.build(exchanged.token, "bld_1") == exchanged.facts
        for wrong in (minted.token, exchanged.token):
            with pytest.raises(WrongKind):
                await baton.verifier.user(wrong)
        for wrong in (users, exchanged.token):
            with pytest.raises(WrongKind):
                await baton.verifier.build(wrong)
        for wrong in (users, minted.token):
            with pytest.raises(WrongKind):
                await baton.exchanged.build(wrong, "bld_1")


async def test_the_audience_may_be_asked_for_as_a_resource(
    stack: AsyncExitStack, shared: OidcProvider
) -> None:
    baton = await relying(stack, shared)

    minted = await baton.minter(target="resource").mint(REQUEST)
    exchanged = await baton.exchange(target="resource").exchange(shared.user_token(), REQUEST)

    assert minted.facts.audience == exchanged.facts.audience == BUILDS


async def test_each_attempt_has_a_token_of_its_own(
    stack: AsyncExitStack, shared: OidcProvider
) -> None:
    baton = await relying(stack, shared)

    found = await baton.exchange().exchange_several(shared.user_token(), REQUEST, 3)

    assert len({each.facts.token_id for each in found}) == 3


@pytest.mark.parametrize("changes", [{"actor": True}, {"exchangedNamesBuild": True}], ids=str)
async def test_an_exchanged_token_may_say_more_than_it_must(
    stack: AsyncExitStack, changes: dict[str, Any]
) -> None:
    with OidcProvider(**changes) as provider:
        baton = await relying(stack, provider)

        minted = await baton.exchange().exchange(provider.user_token(), REQUEST)

        assert minted.facts.build_id == REQUEST.build_id


# ── who asks ──────────────────────────────────────────────────────────────────────────────────


def signing_client(key: AssertionKey) -> dict[str, Any]:
    return client(
        token_endpoint_auth_method="private_key_jwt",
        token_endpoint_auth_signing_alg=key.alg,
        jwks={"keys": [dict(key.public_jwk)]},
        client_secret=None,
    )


@pytest.mark.parametrize(
    ("method", "authentication"),
    [("client_secret_post", POST), ("client_secret_basic", BASIC)],
)
async def test_a_secret_authenticates_in_body_or_header(
    stack: AsyncExitStack, method: str, authentication: ClientSecretPost | ClientSecretBasic
) -> None:
    with OidcProvider(clients=[client(token_endpoint_auth_method=method), spa()]) as provider:
        baton = await relying(stack, provider)

        assert await baton.minter(authentication).mint(REQUEST)
        assert await baton.exchange(authentication).exchange(provider.user_token(), REQUEST)
        wrong = type(authentication)(client_id=CLIENT, client_secret=SECRET + "!")
        with pytest.raises(ProviderRefused, match="invalid_client") as refused:
            await baton.minter(wrong).mint(REQUEST)
        assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    ("signing", "alg"), [("RS256", "RS256"), ("RS256", "PS256"), ("ES256", "ES256")]
)
async def test_a_signed_assertion_authenticates(
    stack: AsyncExitStack, signing: Alg, alg: AssertionAlg
) -> None:
    key = AssertionKey(SigningKey.generate(signing), alg=alg)
    with OidcProvider(clients=[signing_client(key), spa()]) as provider:
        baton = await relying(stack, provider)
        authentication = PrivateKeyJwt(CLIENT, key, audience=provider.issuer)
        stranger = AssertionKey(SigningKey.generate(signing), alg=alg, kid=key.kid)

        for _ in range(2):  # it refuses an assertion that it has seen
            assert await baton.minter(authentication).mint(REQUEST)
            assert await baton.exchange(authentication).exchange(provider.user_token(), REQUEST)
        for wrong in (
            PrivateKeyJwt(CLIENT, stranger, audience=provider.issuer),
            PrivateKeyJwt(CLIENT, key, audience="https://elsewhere.example.com/"),
            PrivateKeyJwt(CLIENT, key, audience=provider.issuer, clock=lambda: time.time() - 3600),
        ):
            with pytest.raises(ProviderRefused, match="invalid_client"):
                await baton.minter(wrong).mint(REQUEST)


async def test_a_key_that_the_provider_has_replaced_is_refused_and_the_new_one_taken(
    stack: AsyncExitStack,
) -> None:
    with OidcProvider(clients=[signing_client(RSA), spa()]) as provider:
        baton = await relying(stack, provider)
        old = PrivateKeyJwt(CLIENT, RSA, audience=provider.issuer)
        new = PrivateKeyJwt(CLIENT, EC, audience=provider.issuer)
        assert await baton.minter(old).mint(REQUEST)

        provider.configure(clients=[signing_client(EC), spa()])

        with pytest.raises(ProviderRefused, match="invalid_client"):
            await baton.minter(old).mint(REQUEST)
        assert await baton.minter(new).mint(REQUEST)


async def test_an_expired_secret_is_named_and_a_new_one_helps(
    stack: AsyncExitStack, provider: OidcProvider
) -> None:
    baton = await relying(stack, provider)
    fresh = ClientSecretPost(client_id=CLIENT, client_secret="a new secret")
    users = provider.user_token()

    provider.configure(clients=[client(client_secret_expires_at=int(time.time()) - 3600), spa()])
    for ask in (baton.minter().mint(REQUEST), baton.exchange().exchange(users, REQUEST)):
        with pytest.raises(ProviderRefused, match="invalid_client") as refused:
            await ask
        assert SECRET not in str(refused.value)

    provider.configure(clients=[client(client_secret="a new secret"), spa()])
    assert await baton.minter(fresh).mint(REQUEST)
    assert await baton.exchange(fresh).exchange(users, REQUEST)


# ── what it refuses, and what we refuse ───────────────────────────────────────────────────────


async def test_a_users_token_without_the_right_is_not_exchanged(
    stack: AsyncExitStack, shared: OidcProvider
) -> None:
    baton = await relying(stack, shared)
    reader = shared.user_token(scope="read:builds create:builds")

    with pytest.raises(ProviderRefused, match="invalid_scope"):
        await baton.exchange().exchange(reader, REQUEST)


@pytest.mark.parametrize("damage", ["signature", "audience"])
async def test_a_token_that_is_not_good_is_not_exchanged(
    stack: AsyncExitStack, shared: OidcProvider, damage: str
) -> None:
    baton = await relying(stack, shared)
    audience = BUILDS if damage == "audience" else API
    subject = shared.user_token(audience=audience, scope="update:builds")
    subject = subject[:-8] + "AAAAAAAA" if damage == "signature" else subject

    with pytest.raises(ProviderRefused, match="invalid_grant") as refused:
        await baton.exchange().exchange(subject, REQUEST)
    assert subject not in str(refused.value)


async def test_another_users_token_is_no_token_for_this_users_build(
    stack: AsyncExitStack, shared: OidcProvider
) -> None:
    baton = await relying(stack, shared)

    with pytest.raises(UnfitToken, match="another user"):
        await baton.exchange().exchange(shared.user_token("auth0|bob"), REQUEST)


async def test_a_client_that_may_not_exchange_is_told_so(stack: AsyncExitStack) -> None:
    only = [client(grant_types=["client_credentials"]), spa()]
    with OidcProvider(clients=only) as provider:
        baton = await relying(stack, provider)

        with pytest.raises(ProviderRefused, match="grant type is not allowed for this client"):
            await baton.exchange().exchange(provider.user_token(), REQUEST)


async def test_a_provider_that_widens_tokens_is_found_out(stack: AsyncExitStack) -> None:
    resources = {
        API: {"scope": "read:builds create:builds update:builds", "lifetime": 600},
        BUILDS: {"scope": "update:builds delete:everything", "lifetime": 9000},
    }
    # It says so, or it says nothing and the token shows it.
    for answer in ({}, {"scope": "update:builds"}):
        with OidcProvider(widens=True, resources=resources, answer=answer) as provider:
            baton = await relying(stack, provider)

            with pytest.raises(UnfitToken, match="widened the token by scope 'delete:everything'"):
                await baton.exchange().exchange(provider.user_token(), REQUEST)


async def test_a_machine_that_was_granted_more_is_found_out(stack: AsyncExitStack) -> None:
    resources = {BUILDS: {"scope": "update:builds read:builds", "lifetime": 9000}}
    scope = "update:builds read:builds"
    with OidcProvider(machineScope=scope, resources=resources) as provider:
        baton = await relying(stack, provider)

        with pytest.raises(UnfitToken, match="instead of exactly 'update:builds'"):
            await baton.minter().mint(REQUEST)


async def test_a_lifetime_that_is_too_short_is_found_out(stack: AsyncExitStack) -> None:
    resources = {
        API: {"scope": "read:builds create:builds update:builds", "lifetime": 600},
        BUILDS: {"scope": "update:builds", "lifetime": 600},
    }
    with OidcProvider(resources=resources) as provider:
        baton = await relying(stack, provider)
        users = provider.user_token()

        for ask in (baton.minter().mint(REQUEST), baton.exchange().exchange(users, REQUEST)):
            with pytest.raises(UnfitToken, match="this build needs 7290 s"):
                await ask
