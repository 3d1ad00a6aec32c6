"""What a minter returns, our verifier accepts, and it names this build and this user.

One suite, run on every minter; what is the local minter's own comes after it.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

from app.minting import MintRequest
from app.tokens.claims import UnverifiedToken
from app.tokens.errors import WrongKind
from app.tokens.signing_key import SigningKey
from app.tokens.verifier import TrustedIssuer, Verifier
from tests.support.providers.minting_bench import (
    AUDIENCE,
    CLIENT,
    KEY,
    NAMESPACE,
    REQUEST,
    SECRET,
    Bench,
    local,
    policy,
    with_own_key,
    with_provider,
)

MINTERS: dict[str, Callable[[AsyncExitStack], Awaitable[Bench]]] = {
    "client_credentials, JSON": lambda stack: with_provider(stack, "json"),
    "client_credentials, form": lambda stack: with_provider(stack, "form"),
    "local, ES256": lambda stack: with_own_key(stack, "ES256"),
    "local, RS256": lambda stack: with_own_key(stack, "RS256"),
}


@pytest.fixture(params=list(MINTERS))
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    async with AsyncExitStack() as stack:
        yield await MINTERS[request.param](stack)


# ── every minter ──────────────────────────────────────────────────────────────────────────────


async def test_the_token_is_accepted_and_names_this_build_and_user(bench: Bench) -> None:
    minted = await bench.minter.mint(REQUEST)

    read = await bench.verifier.build(minted.token)
    assert read == minted.facts
    assert (read.user_id, read.build_id) == ("auth0|ann", "bld_1")
    assert (read.scope, read.audience, read.client_id) == ("update:builds", AUDIENCE, CLIENT)


async def test_the_token_lasts_as_long_as_was_asked(bench: Bench) -> None:
    before = int(time.time())

    facts = (await bench.minter.mint(REQUEST)).facts

    assert facts.expires_at >= before + REQUEST.lifetime
    assert before <= facts.issued_at <= time.time()


async def test_the_token_opens_nothing_of_a_users(bench: Bench) -> None:
    minted = await bench.minter.mint(REQUEST)

    with pytest.raises(WrongKind):
        await bench.verifier.user(minted.token)


async def test_many_mint_at_once_and_each_gets_its_own(bench: Bench) -> None:
    requests = [
        MintRequest(user_id=f"auth0|{n % 3}", build_id=f"bld_{n}", lifetime=60) for n in range(20)
    ]

    minted = await asyncio.gather(*map(bench.minter.mint, requests))

    assert [(each.facts.user_id, each.facts.build_id) for each in minted] == [
        (request.user_id, request.build_id) for request in requests
    ]
    assert len({each.facts.token_id for each in minted}) == 20


async def test_names_that_are_no_plain_ascii_arrive_as_they_are(bench: Bench) -> None:
    user = "waad|Zoë O'Hara & Söhne +100%/ü=1"

    minted = await bench.minter.mint(MintRequest(user_id=user, build_id="bld_1", lifetime=60))

    assert minted.facts.user_id == user


async def test_neither_token_nor_secret_is_shown(bench: Bench) -> None:
    minted = await bench.minter.mint(REQUEST)

    shown = repr(minted) + repr(bench.minter)
    assert minted.token not in shown
    assert SECRET not in shown


# ── the local minter ──────────────────────────────────────────────────────────────────────────


async def test_an_own_token_has_all_that_rfc_9068_asks_for() -> None:
    minted = await local([KEY]).mint(REQUEST)
    again = await local([KEY]).mint(REQUEST)

    token = UnverifiedToken.parse(minted.token)
    assert token.unverified_header == {"typ": "at+jwt", "alg": "RS256", "kid": KEY.kid}
    required = {"iss", "exp", "aud", "sub", "client_id", "iat", "jti", "scope"}
    own = {f"{NAMESPACE}user_id", f"{NAMESPACE}build_id"}
    assert set(token.unverified_payload) == required | own
    assert again.facts.token_id != minted.facts.token_id


async def test_tokens_outlive_a_rotation_for_as_long_as_the_old_key_is_kept() -> None:
    old, new = SigningKey.generate(), SigningKey.generate("RS256")
    before = await local([old]).mint(REQUEST)
    rotated = local([new, old])
    trusted = TrustedIssuer(
        issuer="https://api.example.com/",
        keys=rotated.key_source(),
        algorithms=frozenset({"ES256", "RS256"}),
    )
    verifier = Verifier([trusted], policy())

    after = await rotated.mint(REQUEST)

    assert UnverifiedToken.parse(after.token).unverified_header["kid"] == new.kid
    assert (await verifier.build(before.token)).build_id == "bld_1"
    assert (await verifier.build(after.token)).build_id == "bld_1"


def test_what_the_local_minter_publishes_is_public() -> None:
    keys = local([SigningKey.generate(), KEY]).jwks()["keys"]

    assert [key["kty"] for key in keys] == ["EC", "RSA"]
    assert all({"d", "p", "q", "k"}.isdisjoint(key) for key in keys)


def test_the_same_key_twice_is_a_mistake() -> None:
    for keys in ([], [KEY, KEY]):
        with pytest.raises(ValueError, match="signing keys"):
            local(keys)
