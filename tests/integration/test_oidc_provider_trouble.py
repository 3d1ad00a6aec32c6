"""A third party's provider in trouble: throttled, restarted, its keys changed under requests."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import pytest

from app.minting import MintError, ProviderUnavailable
from app.tokens.claims import UnverifiedToken
from app.tokens.errors import InvalidToken
from app.tokens.minting.client_authentication import ClientSecretPost
from tests.support.providers.oidc_provider import CLIENT, SECRET, OidcProvider
from tests.support.providers.relying import POST, REQUEST, relying

pytestmark = pytest.mark.slow


@pytest.fixture
def provider() -> Iterator[OidcProvider]:
    with OidcProvider() as provider:
        yield provider


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


async def test_its_429_is_waited_out(stack: AsyncExitStack, provider: OidcProvider) -> None:
    baton = await relying(stack, provider)

    provider.throttle(2, retry_after=1)
    start = time.monotonic()
    minted = await baton.minter().mint(REQUEST)

    assert minted.facts.build_id == REQUEST.build_id
    assert time.monotonic() - start >= 2
    assert provider.asked()["token"] == 3


async def test_a_429_that_lasts_is_handed_on_with_its_time(
    stack: AsyncExitStack, provider: OidcProvider
) -> None:
    baton = await relying(stack, provider)
    provider.throttle(100, retry_after=600)

    for ask in (
        baton.minter().mint(REQUEST),
        baton.exchange().exchange(provider.user_token(), REQUEST),
    ):
        with pytest.raises(ProviderUnavailable) as unavailable:
            await ask
        assert unavailable.value.retry_after == 600
    assert provider.asked()["token"] == 2


async def test_tokens_stay_good_while_it_is_away_and_it_mints_again_after_its_restart(
    stack: AsyncExitStack, provider: OidcProvider
) -> None:
    baton = await relying(stack, provider)
    users = provider.user_token()
    minted = await baton.minter().mint(REQUEST)
    exchanged = await baton.exchange().exchange(users, REQUEST)

    provider.stop()
    for ask in (
        baton.minter(deadline=1).mint(REQUEST),
        baton.exchange(deadline=1).exchange(users, REQUEST),
    ):
        with pytest.raises(ProviderUnavailable, match="cannot be reached"):
            await ask
    assert await baton.verifier.build(minted.token) == minted.facts
    assert await baton.exchanged.build(exchanged.token, "bld_1") == exchanged.facts
    assert await baton.verifier.user(users)

    provider.start()
    assert await baton.minter().mint(REQUEST)
    assert await baton.exchange().exchange(users, REQUEST)
    assert await baton.verifier.build(minted.token) == minted.facts


async def test_a_restart_amid_requests_costs_no_token(
    stack: AsyncExitStack, provider: OidcProvider
) -> None:
    baton = await relying(stack, provider)
    minter = baton.minter(deadline=60, attempts=100, backoff=0.2)
    await minter.mint(REQUEST)  # the keys are there before it goes away

    async def many() -> int:
        return sum([bool(await minter.mint(REQUEST)) for _ in range(25)])

    asking = [asyncio.create_task(many()) for _ in range(3)]
    while provider.asked()["token"] < 10:
        await asyncio.sleep(0.01)
    provider.stop()
    provider.start()

    assert await asyncio.gather(*asking) == [25, 25, 25]


async def test_its_keys_change_while_requests_flow(
    stack: AsyncExitStack, provider: OidcProvider
) -> None:
    baton = await relying(stack, provider)
    minter, exchange = baton.minter(), baton.exchange()
    users = provider.user_token()
    flowing = True
    tokens: list[str] = []

    async def flow() -> None:
        while flowing:
            minted = await minter.mint(REQUEST)
            tokens.append(minted.token)
            exchanged = await exchange.exchange(users, REQUEST)
            assert await baton.exchanged.build(exchanged.token, "bld_1") == exchanged.facts

    asking = [asyncio.create_task(flow()) for _ in range(4)]
    async with asyncio.timeout(60):
        while len(tokens) < 20:
            await asyncio.sleep(0.01)
        new = await asyncio.to_thread(provider.rotate)
        seen = len(tokens)
        while len(tokens) < seen + 20:
            await asyncio.sleep(0.01)
        flowing = False
        await asyncio.gather(*asking)

    signed_with = [UnverifiedToken.parse(token).unverified_header["kid"] for token in tokens]
    assert set(signed_with) == {key.kid for key in provider.keys}
    assert signed_with[-1] == new.kid
    for token in tokens:  # those of the old key too, for as long as it is published
        assert (await baton.verifier.build(token)).build_id == REQUEST.build_id


async def test_a_key_that_is_withdrawn_opens_nothing_once_that_is_known(
    stack: AsyncExitStack, provider: OidcProvider
) -> None:
    baton = await relying(stack, provider)
    before = await baton.minter().mint(REQUEST)

    provider.rotate(keep_old=False)
    after = await baton.minter().mint(REQUEST)  # a new kid: the keys are fetched again

    assert (await baton.verifier.build(after.token)).build_id == REQUEST.build_id
    with pytest.raises(InvalidToken):
        await baton.verifier.build(before.token)


async def test_nothing_of_a_failure_shows_token_or_secret(
    stack: AsyncExitStack, provider: OidcProvider
) -> None:
    baton = await relying(stack, provider)
    users = provider.user_token()
    wrong = ClientSecretPost(client_id=CLIENT, client_secret="not the secret")

    for authentication, subject in ((wrong, users), (POST, users + "x"), (POST, "nonsense")):
        with pytest.raises(MintError) as error:
            await baton.exchange(authentication).exchange(subject, REQUEST)
        shown = f"{error.value!r} {error.value}"
        assert not any(word in shown for word in (users[:20], SECRET, "not the secret"))
