"""The issuer's keys over real HTTP: servers that misbehave, and as few fetches as can be."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator

import httpx
import pytest

from app.tokens.errors import InvalidToken, KeysUnavailable
from app.tokens.jwks import JwksCache
from app.tokens.signing_key import SigningKey
from tests.support.servers.scripted_server import (
    Answer,
    Heard,
    ScriptedServer,
    breaks_off,
    drips,
    floods,
    hangs,
    resets,
    says,
    scripted,
    send,
)

OLD, NEW = SigningKey.generate(), SigningKey.generate()
PAUSE = 61 * 1.25  #: seconds; longer than any pause after failures


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def publishes(*keys: SigningKey) -> Answer:
    return says({"keys": [key.public_jwk() for key in keys]})


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False) as client:
        yield client


@pytest.fixture
async def issuer() -> AsyncIterator[ScriptedServer]:
    async with scripted(publishes(OLD)) as server:
        yield server


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def keys(
    issuer: ScriptedServer, http: httpx.AsyncClient, clock: Clock
) -> AsyncIterator[JwksCache]:
    cache = JwksCache(f"{issuer.url}/keys", http, frozenset({"ES256"}), clock=clock, deadline=1.5)
    yield cache
    await cache.close()


async def until_fetched(issuer: ScriptedServer, times: int) -> None:
    async with asyncio.timeout(5):
        while len(issuer.heard) < times:
            await asyncio.sleep(0.005)


async def has(keys: JwksCache, key: SigningKey) -> bool:
    return (await keys.key(key.kid, "ES256")).kid == key.kid


async def test_keys_are_fetched_once_and_kept(issuer: ScriptedServer, keys: JwksCache) -> None:
    for _ in range(20):
        assert await has(keys, OLD)

    assert len(issuer.heard) == 1
    assert issuer.heard[0].path == "/keys"


async def test_callers_who_come_at_once_share_one_fetch(
    issuer: ScriptedServer, keys: JwksCache
) -> None:
    may_answer = asyncio.Event()

    async def answer(request: Heard, writer: asyncio.StreamWriter) -> None:
        await may_answer.wait()
        await publishes(OLD)(request, writer)

    issuer.answer = answer
    callers = [asyncio.create_task(has(keys, OLD)) for _ in range(50)]
    await until_fetched(issuer, 1)
    assert not any(caller.done() for caller in callers)
    may_answer.set()

    assert all(await asyncio.gather(*callers))
    assert len(issuer.heard) == 1


async def test_a_caller_that_goes_away_does_not_end_the_fetch_of_the_others(
    issuer: ScriptedServer, keys: JwksCache
) -> None:
    may_answer = asyncio.Event()

    async def answer(request: Heard, writer: asyncio.StreamWriter) -> None:
        await may_answer.wait()
        await publishes(OLD)(request, writer)

    issuer.answer = answer
    first = asyncio.create_task(has(keys, OLD))
    await until_fetched(issuer, 1)
    second = asyncio.create_task(has(keys, OLD))
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    may_answer.set()

    assert await second
    assert len(issuer.heard) == 1


GZIPPED = gzip.compress(json.dumps({"keys": [NEW.public_jwk()]}).encode() + b" " * 10_000_000)

MISBEHAVING: dict[str, Answer] = {
    "hangs": hangs,
    "drips": drips,
    "resets the connection": resets,
    "breaks off": breaks_off,
    "sends 60 MB": floods,
    "500": says({"keys": [NEW.public_jwk()]}, status=500),
    "404": says({"keys": [NEW.public_jwk()]}, status=404),
    "204": says(b"", status=204),
    "redirects": says(b"", status=302, headers={"Location": "/elsewhere"}),
    "HTML": says(b"<html>sign in</html>", kind="text/html"),
    "empty": says(b""),
    "not UTF-8": says(b'{"keys": ["\xff"]}'),
    "a list": says([NEW.public_jwk()]),
    "no keys": says({}),
    "an empty list of keys": says({"keys": []}),
    "keys that are none": says({"keys": [1, None, "a", [], {}]}),
    "only a symmetric key": says({"keys": [{"kty": "oct", "k": "AAAA", "kid": NEW.kid}]}),
    "only a key for encryption": says({"keys": [NEW.public_jwk() | {"use": "enc"}]}),
    "only two keys of one name": says({"keys": [NEW.public_jwk(), NEW.public_jwk()]}),
    "nested without end": says(b'{"keys": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    "compressed": says(GZIPPED, headers={"Content-Encoding": "gzip"}),
}

misbehaving = pytest.mark.parametrize("answer", MISBEHAVING.values(), ids=MISBEHAVING)


@misbehaving
async def test_with_no_keys_yet_nobody_knows_and_it_takes_no_longer_than_the_deadline(
    issuer: ScriptedServer, keys: JwksCache, answer: Answer
) -> None:
    issuer.answer = answer

    async with asyncio.timeout(5):
        with pytest.raises(KeysUnavailable) as error:
            await keys.key(NEW.kid, "ES256")

    assert 0 < error.value.retry_after < PAUSE
    assert [request.path for request in issuer.heard] == ["/keys"]
    assert not await keys.ready()


@misbehaving
async def test_keys_that_were_good_stay_good(
    issuer: ScriptedServer, keys: JwksCache, clock: Clock, answer: Answer
) -> None:
    assert await has(keys, OLD)
    issuer.answer = answer
    clock.now += 601

    assert await has(keys, OLD)  # starts a refresh in the background
    await until_fetched(issuer, 2)
    async with asyncio.timeout(5):
        with pytest.raises(KeysUnavailable):  # waits for it
            await keys.key(NEW.kid, "ES256")

    assert await has(keys, OLD)
    assert await keys.ready()
    assert len(issuer.heard) == 2


async def test_an_endless_answer_is_cut_off(issuer: ScriptedServer, keys: JwksCache) -> None:
    issuer.answer = floods

    assert not await keys.ready()
    async with asyncio.timeout(5):
        await issuer.hung_up.wait()


async def test_keys_are_not_looked_for_where_a_redirect_points(
    issuer: ScriptedServer, keys: JwksCache
) -> None:
    async with scripted(publishes(NEW)) as elsewhere:
        issuer.answer = says(b"", status=307, headers={"Location": f"{elsewhere.url}/keys"})

        assert not await keys.ready()
        assert elsewhere.heard == []


async def test_an_issuer_that_is_down_is_not_asked_for_every_token(
    issuer: ScriptedServer, keys: JwksCache, clock: Clock
) -> None:
    issuer.answer = says(b"", status=500)

    for _ in range(20):
        with pytest.raises(KeysUnavailable):
            await keys.key(OLD.kid, "ES256")
    assert len(issuer.heard) == 1

    clock.now += PAUSE
    issuer.answer = publishes(OLD)
    assert await has(keys, OLD)
    assert len(issuer.heard) == 2


async def test_pauses_grow_and_end_with_the_first_success(
    issuer: ScriptedServer, keys: JwksCache, clock: Clock
) -> None:
    issuer.answer = says(b"", status=500)
    waits = []
    for _ in range(10):
        with pytest.raises(KeysUnavailable) as error:
            await keys.key(OLD.kid, "ES256")
        waits.append(error.value.retry_after)
        clock.now += error.value.retry_after

    assert len(issuer.heard) == 10
    assert waits[0] < 1.5
    assert 30 < waits[-1] < PAUSE

    issuer.answer = publishes(OLD)
    assert await has(keys, OLD)
    issuer.answer = says(b"", status=500)
    clock.now += 24 * 3600 + 1
    with pytest.raises(KeysUnavailable) as error:
        await keys.key(OLD.kid, "ES256")
    assert error.value.retry_after < 1.5


async def test_made_up_names_cost_one_fetch_in_thirty_seconds(
    issuer: ScriptedServer, keys: JwksCache, clock: Clock
) -> None:
    assert await has(keys, OLD)

    for round_ in (1, 2):
        for made_up in range(200):
            with pytest.raises(InvalidToken):
                await keys.key(f"made-up-{made_up}", "ES256")
        assert len(issuer.heard) == 1 + round_
        clock.now += 30


async def test_made_up_names_that_come_at_once_cost_one_fetch(
    issuer: ScriptedServer, keys: JwksCache
) -> None:
    assert await has(keys, OLD)

    answers = await asyncio.gather(
        *(keys.key(f"made-up-{each}", "ES256") for each in range(100)), return_exceptions=True
    )

    assert {type(answer) for answer in answers} == {InvalidToken}
    assert len(issuer.heard) == 2


async def test_a_made_up_name_on_a_cold_start_costs_nothing_more(
    issuer: ScriptedServer, keys: JwksCache
) -> None:
    with pytest.raises(InvalidToken):
        await keys.key("made-up", "ES256")

    assert len(issuer.heard) == 1


async def test_a_new_key_is_found_when_it_is_first_used_and_a_revoked_one_is_gone(
    issuer: ScriptedServer, keys: JwksCache
) -> None:
    assert await has(keys, OLD)
    issuer.answer = publishes(NEW)

    assert await has(keys, NEW)
    with pytest.raises(InvalidToken):
        await keys.key(OLD.kid, "ES256")
    assert len(issuer.heard) == 2


async def test_while_the_issuer_is_down_a_new_key_is_unknown_but_not_invalid(
    issuer: ScriptedServer, keys: JwksCache, clock: Clock
) -> None:
    assert await has(keys, OLD)
    issuer.answer = says(b"", status=503)

    for _ in range(10):
        with pytest.raises(KeysUnavailable) as error:
            await keys.key(NEW.kid, "ES256")
    assert len(issuer.heard) == 2

    issuer.answer = publishes(OLD, NEW)
    clock.now += error.value.retry_after
    assert await has(keys, NEW)


async def test_nobody_waits_for_a_refresh(
    issuer: ScriptedServer, keys: JwksCache, clock: Clock
) -> None:
    assert await has(keys, OLD)
    may_answer, asked = asyncio.Event(), asyncio.Event()

    async def answer(_: Heard, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await may_answer.wait()
        send(writer, json.dumps({"keys": [NEW.public_jwk()]}).encode())

    issuer.answer = answer
    clock.now += 599
    assert await has(keys, OLD)
    assert not asked.is_set()

    clock.now += 2
    assert await has(keys, OLD)
    async with asyncio.timeout(5):
        await asked.wait()
    for _ in range(20):
        assert await has(keys, OLD)  # while the refresh is under way

    may_answer.set()
    assert await has(keys, NEW)
    assert len(issuer.heard) == 2


async def test_old_keys_serve_for_a_day_without_their_issuer_and_not_longer(
    issuer: ScriptedServer, keys: JwksCache, clock: Clock
) -> None:
    assert await has(keys, OLD)
    issuer.answer = resets

    clock.now += 24 * 3600 - 1
    assert await has(keys, OLD)
    clock.now += 2
    with pytest.raises(KeysUnavailable):
        await keys.key(OLD.kid, "ES256")


async def test_a_token_need_not_name_the_only_key_but_one_of_several(
    issuer: ScriptedServer, keys: JwksCache, clock: Clock
) -> None:
    assert (await keys.key(None, "ES256")).kid == OLD.kid

    issuer.answer = publishes(OLD, NEW)
    clock.now += 601
    assert await has(keys, NEW)
    with pytest.raises(InvalidToken):
        await keys.key(None, "ES256")
    assert len(issuer.heard) == 2


async def test_a_port_where_nobody_listens_is_an_issuer_that_is_down(
    http: httpx.AsyncClient,
) -> None:
    async with scripted(hangs) as gone:
        url = gone.url
    keys = JwksCache(url, http, frozenset({"ES256"}))

    with pytest.raises(KeysUnavailable):
        await keys.key(OLD.kid, "ES256")


async def test_closing_ends_a_fetch_under_way(
    issuer: ScriptedServer, http: httpx.AsyncClient
) -> None:
    issuer.answer = hangs
    keys = JwksCache(issuer.url, http, frozenset({"ES256"}), deadline=600)
    caller = asyncio.create_task(keys.ready())
    await until_fetched(issuer, 1)

    async with asyncio.timeout(5):
        await keys.close()
        (result,) = await asyncio.gather(caller, return_exceptions=True)

    assert isinstance(result, asyncio.CancelledError)
