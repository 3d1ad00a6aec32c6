"""The dispatcher on a real Redis, with providers and brokers that fail."""

import asyncio
import json
import math
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from app.bootstrap.running import stop
from app.builds.dispatch import Dispatcher, DispatchRules
from app.builds.errors import QueueUnavailable, StoreUnavailable
from app.builds.ids import BuildIds
from app.builds.model import Timers
from app.builds.pubsub import PubSub
from app.builds.queue import CeleryQueue
from app.builds.store import BuildStore, connect
from app.config.lifetime import Timing, timers
from app.contract.sealing import Seal, new_key
from app.contract.status import Reason
from app.minting import (
    BuildPrincipal,
    MintedToken,
    MintError,
    MintRequest,
    ProviderUnavailable,
    TooShort,
)
from tests.support.servers.redis_process import RedisProcess

TIMING = Timing(queue_ttl=60, kill_grace=5, report_window=30, leeway=10)
IDS = BuildIds()


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    data: Path = tmp_path_factory.mktemp("redis")
    with RedisProcess(data) as process:
        yield process


@dataclass
class Provider:
    """A mint that gives tokens of a length, or fails as often as it is told to."""

    lasts: float = 3600
    failures: list[MintError] = field(default_factory=list)
    repeats: int = 0  #: how many tokens are the same
    strangers: set[str] = field(default_factory=set)  #: whose builds are too long for its tokens
    open: asyncio.Event = field(default_factory=asyncio.Event)  #: cleared: it answers later
    asked: list[tuple[str, str, float]] = field(default_factory=list)
    heard: list[Reason | bool | None] = field(default_factory=list)  #: as the observer

    async def mint(self, request: MintRequest) -> MintedToken:
        self.asked.append((request.user_id, request.build_id, request.lifetime))
        await self.open.wait()
        if self.failures:
            raise self.failures.pop()
        if request.user_id in self.strangers:
            raise TooShort("it does not last")
        now = int(time.time())
        build_id = request.build_id
        token_id = build_id if self.repeats > 0 else f"{build_id} {len(self.asked)}"
        facts = BuildPrincipal(
            issuer="issuer", audience="api", scope="update:builds", client_id="client",
            user_id=request.user_id, build_id=build_id,
            issued_at=now, expires_at=now + math.floor(self.lasts), token_id=token_id,
        )  # fmt: skip
        self.repeats -= 1
        return MintedToken(token=f"token of {build_id}", facts=facts)

    async def close(self) -> None:
        pass

    def minted(self, seconds: float, reason: Reason | None) -> None:
        assert seconds >= 0
        self.heard.append(reason)

    def sent(self, seconds: float, *, confirmed: bool) -> None:
        assert seconds >= 0
        self.heard.append(confirmed)


@dataclass
class Broker:
    """A queue that takes messages, or fails as often as it is told to."""

    failures: int = 0
    sent: list[str] = field(default_factory=list)

    async def send(self, build_id: str, token: str, timers: Timers) -> None:
        assert token == f"token of {build_id}"
        assert timers.message_expires == TIMING.queue_ttl
        if self.failures:
            self.failures -= 1
            raise QueueUnavailable("the broker is away")
        self.sent.append(build_id)

    async def ping(self) -> None: ...

    async def close(self) -> None: ...


@dataclass
class Scene:
    store: BuildStore
    provider: Provider
    broker: Broker
    dispatcher: Dispatcher
    dispatching: asyncio.Task[None]

    async def submit(self, owner: str = "auth0|ann") -> str:
        build_id, _ = await self.store.records.submit(
            build_id=IDS.new(), owner=owner, spec_json='{"steps":[{"name":"a","run":"b"}]}',
            timeout=100, max_wait=600, retry_of=None, idempotency=None, idempotency_ttl=60,
        )  # fmt: skip
        return build_id

    async def until_sent(self, *ids: str) -> None:
        async with asyncio.timeout(20):
            while not set(ids) <= set(self.broker.sent):
                await self.store.dispatching.expire(
                    hold=True, max_attempts=3, max_wait=600, retention=3600
                )
                await asyncio.sleep(0.02)

    async def until_reason(self, build_id: str, reason: str) -> str:
        async with asyncio.timeout(20):
            while (view := (await self.store.records.get(build_id)).view).reason != reason:
                await asyncio.sleep(0.02)
        return view.message or ""


@pytest.fixture
async def scene(redis: RedisProcess) -> AsyncIterator[Scene]:
    client, news = connect(redis.url), connect(redis.url)
    await client.flushall()
    store, provider, broker = BuildStore(client), Provider(), Broker()
    provider.open.set()
    changes = PubSub(news)
    dispatcher = Dispatcher(
        store=store.dispatching,
        queue=broker,
        minter=provider,
        timers=lambda timeout: timers(TIMING, timeout),
        rules=DispatchRules(
            provider="local", window=4, user_limit=3, hold=60, leeway=TIMING.leeway
        ),
        work=changes.work,
        observer=provider,
    )
    tasks = [asyncio.create_task(changes.run()), asyncio.create_task(dispatcher.run())]
    yield Scene(store, provider, broker, dispatcher, tasks[1])
    await stop(tasks)
    await news.aclose()
    await store.close()


async def test_a_build_is_minted_for_and_sent(scene: Scene) -> None:
    build_id = await scene.submit()
    await scene.until_sent(build_id)
    assert scene.provider.asked == [("auth0|ann", build_id, timers(TIMING, 100).token_lifetime)]
    view = (await scene.store.records.get(build_id)).view
    assert view.attempt == 1
    assert view.token
    assert view.token.scope == "update:builds"
    assert scene.provider.heard == [None, True]


async def test_no_more_wait_than_the_window_and_no_user_has_more_than_the_limit(
    scene: Scene,
) -> None:
    anns, bobs = [], []
    for _ in range(5):  # in turns, as the first are dispatched while the last are submitted
        anns.append(await scene.submit())
        bobs.append(await scene.submit("auth0|bob"))
    await scene.until_sent(anns[0], anns[1], bobs[0], bobs[1])
    await scene.store.records.cancel(bobs[0], "auth0|bob", who="auth0|bob")
    async with asyncio.timeout(20):
        while len(scene.broker.sent) < 5:
            await asyncio.sleep(0.02)
    assert set(scene.broker.sent) - {anns[0], anns[1], bobs[0], bobs[1]} <= {anns[2], bobs[2]}
    assert len(scene.broker.sent) == 5


async def test_a_provider_that_fails_is_asked_again(scene: Scene) -> None:
    scene.provider.failures = [ProviderUnavailable("the provider is away")]
    build_id = await scene.submit()
    assert await scene.until_reason(build_id, "no_token") == "the provider is away"
    await scene.until_sent(build_id)
    assert (await scene.store.records.get(build_id)).view.reason is None
    assert scene.provider.heard == [Reason.NO_TOKEN, None, True]


async def test_a_token_that_would_not_last_is_not_sent(scene: Scene) -> None:
    scene.provider.lasts = timers(TIMING, 100).run_limit
    build_id = await scene.submit()
    message = await scene.until_reason(build_id, "token_refused")
    assert "BATON_QUEUE_TTL" in message
    assert scene.broker.sent == []
    scene.provider.lasts = 3600
    await scene.until_sent(build_id)


async def test_a_build_too_long_for_the_providers_tokens_keeps_nobody_waiting(
    scene: Scene,
) -> None:
    scene.provider.strangers = {"auth0|bob"}
    refused = await scene.submit("auth0|bob")
    assert await scene.until_reason(refused, "token_refused") == "it does not last"
    assert scene.dispatcher._pause_until == 0
    await scene.until_sent(await scene.submit())


async def test_failures_at_the_same_time_are_one(scene: Scene) -> None:
    scene.provider.open.clear()
    builds = [await scene.submit() for _ in range(3)]
    async with asyncio.timeout(20):
        while len(scene.provider.asked) < 3:
            await asyncio.sleep(0.02)
    scene.provider.failures = [ProviderUnavailable("away") for _ in builds]
    scene.provider.open.set()
    for build_id in builds:
        await scene.until_reason(build_id, "no_token")
    assert scene.dispatcher._failures == 1


async def test_what_was_taken_is_seen_through_when_dispatch_is_stopped(scene: Scene) -> None:
    scene.provider.open.clear()
    build_id = await scene.submit()
    async with asyncio.timeout(20):
        while not scene.provider.asked:
            await asyncio.sleep(0.02)
    stopping = asyncio.create_task(stop({scene.dispatching}))
    await asyncio.wait({scene.dispatching}, timeout=0.2)
    assert not scene.dispatching.done()
    scene.provider.open.set()
    await stopping
    assert scene.broker.sent == [build_id]


async def test_an_answer_of_the_store_that_is_lost_costs_no_build_its_message(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent, lost = scene.store.dispatching.sent, [StoreUnavailable("the answer was lost")]

    async def losing(*args: Any, **more: Any) -> bool:
        wanted = await sent(*args, **more)
        if lost:
            raise lost.pop()
        return wanted

    monkeypatch.setattr(scene.store.dispatching, "sent", losing)
    build_id = await scene.submit()
    await scene.until_sent(build_id)
    assert not lost
    assert (await scene.store.records.get(build_id)).view.attempt == 1


async def test_dispatch_goes_on_as_soon_as_the_store_is_back(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        scene.dispatcher, "_store", BuildStore(connect("unix:///nothing")).dispatching
    )
    for _ in range(10):
        assert await scene.dispatcher._take() is None
    assert scene.dispatcher._pause_until == 0


async def test_a_broker_that_fails_costs_an_attempt_and_its_token_but_no_build(
    scene: Scene,
) -> None:
    scene.broker.failures = 1
    build_id = await scene.submit()
    await scene.until_reason(build_id, "broker_unavailable")
    await scene.until_sent(build_id)
    view = (await scene.store.records.get(build_id)).view
    assert view.attempt == 2
    assert scene.provider.heard == [None, False, None, True]


async def test_the_next_attempt_never_has_the_token_of_the_one_before(scene: Scene) -> None:
    scene.broker.failures = 1
    scene.provider.repeats = 2  # as without a `jti` within one second
    build_id = await scene.submit()
    await scene.until_sent(build_id)
    assert (await scene.store.records.get(build_id)).view.attempt == 2
    assert len(scene.provider.asked) == 3


async def test_publishing_to_a_broker_that_is_not_there_ends_in_time() -> None:
    queue = CeleryQueue("redis://127.0.0.1:1/0", redelivery_after=100)
    begun = time.monotonic()
    with pytest.raises(QueueUnavailable):
        await queue.send("bld_x", "token", timers(TIMING, 100))
    with pytest.raises(QueueUnavailable):
        await queue.ping()
    await queue.close()
    assert time.monotonic() - begun < 30  # a bound, not a measurement: Celery's own has none


async def test_the_token_is_in_the_header_and_nowhere_else_in_the_message(
    redis: RedisProcess,
) -> None:
    queue = CeleryQueue(redis.url, redelivery_after=100)
    client = connect(redis.url)
    await client.flushall()
    await queue.ping()
    await queue.send("bld_x", "the-token-itself", timers(TIMING, 100))
    raw = await client.lpop("baton.builds")
    await queue.close()
    await client.aclose()
    assert isinstance(raw, bytes)
    assert raw.count(b"the-token-itself") == 1
    assert b'"baton_token": "the-token-itself"' in raw


async def test_who_reads_the_broker_reads_no_token(redis: RedisProcess) -> None:
    seal = Seal([new_key()])
    queue = CeleryQueue(redis.url, redelivery_after=100, seal=seal)
    client = connect(redis.url)
    await client.flushall()
    await queue.send("bld_x", "the-token-itself", timers(TIMING, 100))
    raw = await client.lpop("baton.builds")
    await queue.close()
    await client.aclose()
    assert isinstance(raw, bytes)
    assert b"the-token-itself" not in raw
    sealed = json.loads(raw)["headers"]["baton_token"]
    assert seal.open(sealed, purpose="bld_x") == "the-token-itself"
