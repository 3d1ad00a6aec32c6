"""Tokens exchanged at submission: what the store keeps of them, and which attempt gets which."""

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any

import pytest

from app.builds import errors
from app.builds.model import Credential, PrefetchedTokens
from app.builds.store import BuildStore, connect, keys
from app.builds.store.prefetched_tokens import PrefetchedTokenStore
from app.builds.store.results import Taken
from app.contract.sealing import Seal, new_key
from app.contract.status import Reason, Status
from app.minting import MintedToken, MintRequest, NoneLeft, UnfitToken
from app.tokens.exchanged import ExchangedTokens
from app.tokens.minting.prefetched import PrefetchedTokenMinter, sealed
from app.tokens.verifier import Verifier
from tests.seams.stored import IDS, SPEC, claim, expire, result, status_of, take
from tests.support.providers.exchange_bench import SUBJECT_TOKEN, Exchanger, exchanger, trusted
from tests.support.providers.minting_bench import REQUEST, policy
from tests.support.servers.redis_process import RedisProcess

KEY = new_key()


@pytest.fixture
async def provider() -> AsyncIterator[Exchanger]:
    async with AsyncExitStack() as stack:
        yield await exchanger(stack)


@pytest.fixture
async def prefetched(redis: RedisProcess) -> AsyncIterator[PrefetchedTokenStore]:
    client = connect(redis.url)
    yield PrefetchedTokenStore(client)
    await client.aclose()


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """A submitted build whose three tokens wait."""

    store: BuildStore
    request: MintRequest
    tokens: tuple[MintedToken, ...]

    @property
    def build_id(self) -> str:
        return self.request.build_id

    async def take(self) -> Taken:
        taken = await take(self.store)
        assert taken
        assert taken.build_id == self.build_id
        return taken

    async def dispatch(self, minter: PrefetchedTokenMinter) -> MintedToken:
        """Take the build and put its attempt on record, as dispatch does."""
        taken = await self.take()
        minted = await minter.mint(self.request)
        assert await self.store.dispatching.sent(
            taken, token_id=minted.facts.token_id, facts_json="", queue_ttl=60
        )
        return minted

    async def claim(self, minted: MintedToken) -> Credential:
        who = Credential(user_id=self.request.user_id, token_id=minted.facts.token_id)
        await claim(self.store, self.build_id, who)
        return who

    async def hand_back(self, who: Credential) -> None:
        lease = "lease of nonce"
        await self.store.leases.hand_back(self.build_id, who, lease_id=lease, max_wait=60)


async def submitted(store: BuildStore, provider: Exchanger, *, lasts: float = 3600) -> Waiting:
    request = replace(REQUEST, build_id=IDS.new())
    tokens = await provider.exchange.exchange_several(SUBJECT_TOKEN, request, 3)
    await store.records.submit(
        build_id=request.build_id,
        owner=request.user_id,
        spec_json=SPEC,
        timeout=60,
        max_wait=600,
        retry_of=None,
        idempotency=None,
        idempotency_ttl=60,
        prefetched=PrefetchedTokens(
            sealed=sealed(Seal([KEY]), request.build_id, tokens), ttl=lasts
        ),
    )
    return Waiting(store=store, request=request, tokens=tokens)


def minter(
    prefetched: PrefetchedTokenStore, provider: Exchanger, *, later: float = 0.0
) -> PrefetchedTokenMinter:
    """`later` is how many seconds after submission it works."""
    return PrefetchedTokenMinter(
        prefetched, Seal([KEY]), provider.tokens, clock=lambda: time.time() + later
    )


async def contents(redis: RedisProcess) -> str:
    """Everything that the store holds, as text."""
    client = connect(redis.url)
    found: list[Any] = []
    async for key in client.scan_iter():
        found += [key, await client.dump(key)]
    await client.aclose()
    return repr(found)


# ── which attempt gets which ──────────────────────────────────────────────────────────────────


async def test_each_claim_uses_one_token_up_and_the_provider_is_not_asked(
    store: BuildStore, prefetched: PrefetchedTokenStore, provider: Exchanger
) -> None:
    waiting = await submitted(store, provider)
    asked = len(provider.server.heard)
    mints = minter(prefetched, provider)

    for expected in waiting.tokens:
        minted = await waiting.dispatch(mints)
        assert minted == expected
        await waiting.hand_back(await waiting.claim(minted))

    assert len(provider.server.heard) == asked
    with pytest.raises(NoneLeft, match="submit it again"):
        await mints.mint(waiting.request)


async def test_a_token_whose_message_was_lost_is_the_next_attempts(
    store: BuildStore, prefetched: PrefetchedTokenStore, provider: Exchanger
) -> None:
    waiting = await submitted(store, provider)
    mints = minter(prefetched, provider)
    for attempt in range(1, 6):
        taken = await waiting.take()
        minted = await mints.mint(waiting.request)
        facts: dict[str, Any] = {"token_id": minted.facts.token_id, "facts_json": ""}
        assert await store.dispatching.sent(taken, **facts, queue_ttl=60)
        assert minted == waiting.tokens[0]
        assert (await store.records.get(waiting.build_id)).view.attempt == attempt
        await store.dispatching.put_back(taken, delay=0, reason="", message="")  # no broker
        await expire(store)

    who = await waiting.claim(await waiting.dispatch(mints))
    await waiting.hand_back(who)
    assert await mints.mint(waiting.request) == waiting.tokens[1]


async def test_a_claim_that_is_repeated_uses_one_token(
    store: BuildStore, prefetched: PrefetchedTokenStore, provider: Exchanger
) -> None:
    waiting = await submitted(store, provider)
    mints = minter(prefetched, provider)
    minted = await waiting.dispatch(mints)

    for _ in range(3):
        who = await waiting.claim(minted)

    await waiting.hand_back(who)
    assert await mints.mint(waiting.request) == waiting.tokens[1]


async def test_a_claimed_attempts_token_does_not_do_for_the_next(
    store: BuildStore, prefetched: PrefetchedTokenStore, provider: Exchanger
) -> None:
    waiting = await submitted(store, provider)
    mints = minter(prefetched, provider)
    first = await waiting.dispatch(mints)
    lost = await waiting.claim(first)
    await waiting.hand_back(lost)

    await waiting.dispatch(mints)

    with pytest.raises(errors.Superseded):
        await claim(store, waiting.build_id, lost)


async def test_a_build_without_tokens_left_is_given_up(
    store: BuildStore, prefetched: PrefetchedTokenStore, provider: Exchanger
) -> None:
    waiting = await submitted(store, provider)
    taken = await waiting.take()

    await store.dispatching.give_up(taken, reason=Reason.TOKENS_SPENT, message="none is left")

    view = (await store.records.get(waiting.build_id)).view
    assert (view.status, view.reason) == (Status.ERRORED, Reason.TOKENS_SPENT)
    assert view.message == "none is left"
    assert await prefetched.first(waiting.build_id) is None
    assert await take(store) is None


async def test_a_dispatcher_that_comes_late_gives_nothing_up(
    store: BuildStore, provider: Exchanger
) -> None:
    waiting = await submitted(store, provider)
    late = await waiting.take()
    await store.dispatching.put_back(late, delay=0, reason="", message="")
    await expire(store)
    await waiting.take()

    await store.dispatching.give_up(late, reason=Reason.TOKENS_SPENT, message="none is left")

    assert await status_of(store, waiting.build_id) == Status.QUEUED


# ── how long they are kept, and from whom ─────────────────────────────────────────────────────


async def test_what_waits_shows_no_token(
    store: BuildStore, redis: RedisProcess, provider: Exchanger
) -> None:
    waiting = await submitted(store, provider)

    shown = await contents(redis)
    assert keys.kept(waiting.build_id) in shown
    parts = [part for minted in waiting.tokens for part in minted.token.split(".")]
    assert len(parts) == 3 * len(waiting.tokens)
    assert not any(part in shown for part in parts)


async def test_nothing_is_kept_of_a_build_that_has_ended(
    store: BuildStore, prefetched: PrefetchedTokenStore, provider: Exchanger
) -> None:
    cancelled = await submitted(store, provider)
    await store.records.cancel(cancelled.build_id, cancelled.request.user_id, who="ann")
    assert await prefetched.first(cancelled.build_id) is None

    done = await submitted(store, provider)
    who = await done.claim(await done.dispatch(minter(prefetched, provider)))
    assert await prefetched.first(done.build_id) is not None
    await store.leases.finish(done.build_id, who, lease_id="lease of nonce", result=result())
    assert await prefetched.first(done.build_id) is None


async def test_what_is_kept_expires_with_the_tokens(
    store: BuildStore, redis: RedisProcess, provider: Exchanger
) -> None:
    waiting = await submitted(store, provider, lasts=1000)

    client = connect(redis.url)
    left = await client.pttl(keys.kept(waiting.build_id))
    await client.aclose()
    assert 900_000 < left <= 1_000_000


async def test_tokens_that_waited_too_long_are_thrown_away(
    store: BuildStore, prefetched: PrefetchedTokenStore, provider: Exchanger
) -> None:
    for later in (provider.lifetime - 100, provider.lifetime + 100):
        waiting = await submitted(store, provider)

        with pytest.raises(NoneLeft, match="submit it again"):
            await minter(prefetched, provider, later=later).mint(waiting.request)
        assert await prefetched.first(waiting.build_id) is None


async def test_one_builds_token_does_not_open_as_anothers(
    store: BuildStore, prefetched: PrefetchedTokenStore, redis: RedisProcess, provider: Exchanger
) -> None:
    one, other = await submitted(store, provider), await submitted(store, provider)
    client = connect(redis.url)
    await client.copy(keys.kept(one.build_id), keys.kept(other.build_id), replace=True)
    await client.aclose()

    with pytest.raises(UnfitToken, match="sealed for another purpose"):
        await minter(prefetched, provider).mint(other.request)


async def test_tokens_stay_while_the_key_that_sealed_them_is_missing(
    store: BuildStore, prefetched: PrefetchedTokenStore, provider: Exchanger
) -> None:
    waiting = await submitted(store, provider)
    without = PrefetchedTokenMinter(prefetched, Seal([new_key()]), provider.tokens)
    rotated = PrefetchedTokenMinter(prefetched, Seal([new_key(), KEY]), provider.tokens)

    with pytest.raises(UnfitToken, match="keep a sealing key"):
        await without.mint(waiting.request)

    assert await rotated.mint(waiting.request) == waiting.tokens[0]


async def test_tokens_stay_while_settings_are_wrong(
    store: BuildStore, prefetched: PrefetchedTokenStore, provider: Exchanger
) -> None:
    waiting = await submitted(store, provider)
    misspelt = replace(policy(), minting_clients=frozenset({"baton-apj"}))
    wrong = PrefetchedTokenMinter(
        prefetched, Seal([KEY]), ExchangedTokens(Verifier([trusted()], misspelt))
    )

    with pytest.raises(UnfitToken, match="BATON_MINT_CLIENT_ID"):
        await wrong.mint(waiting.request)

    assert await minter(prefetched, provider).mint(waiting.request) == waiting.tokens[0]
