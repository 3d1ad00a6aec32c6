"""Held heartbeats over a real Redis: orders come at once, and holding costs the store nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from app.builds import errors
from app.builds.held_heartbeats import HeldHeartbeats
from app.builds.model import Credential
from app.builds.pubsub import PubSub
from app.builds.service import BuildRules, BuildService
from app.builds.store import BuildStore, connect
from app.contract.runs import Directive
from tests.seams.listening import listening
from tests.seams.stored import append, claim, dispatch, expire, result, submit
from tests.support.servers.redis_process import RedisProcess

#: Seconds for which heartbeats are held: so long that only an order can end one within a test.
HELD = 1000.0
LEASE = "lease of nonce"
RULES = BuildRules(
    max_build_timeout=60, max_queue_wait=60, lease=60, kill_grace=1, report_window=60,
    after_timeout=60, log_limit=1000, idempotency_ttl=60, user_queue=100,
)  # fmt: skip


class Holding:
    """Heartbeats as one API process holds them."""

    def __init__(self, store: BuildStore, changes: PubSub) -> None:
        self.changes = changes
        self.service = BuildService(store=store, rules=RULES)
        self.heartbeats = HeldHeartbeats(self.service, changes, lease=RULES.lease)

    async def heartbeat(
        self, build_id: str, who: Credential, seconds: float = HELD, client: "Client | None" = None
    ) -> Directive | None:
        with self.heartbeats.listen(build_id, who, LEASE) as listener:
            directive = await self.service.renew(build_id, who, LEASE)
            if directive.cancel:
                return directive
            return await listener.order(seconds, (client or Client()).gone)

    async def held(self, build_id: str, who: Credential) -> "Held":
        """One that is waiting by now."""
        client = Client()
        task = asyncio.create_task(self.heartbeat(build_id, who, client=client))
        await client.waits.wait()
        return Held(client, task)


class Client:
    def __init__(self) -> None:
        self.waits = asyncio.Event()
        self.leaves = asyncio.Event()

    async def gone(self) -> None:
        self.waits.set()
        await self.leaves.wait()


@dataclass(frozen=True)
class Held:
    client: Client
    task: "asyncio.Task[Directive | None]"


@asynccontextmanager
async def process(redis: RedisProcess) -> AsyncIterator[Holding]:
    async with listening(redis) as (client, changes):
        yield Holding(BuildStore(client), changes)


@pytest.fixture
async def holding(redis: RedisProcess, store: BuildStore) -> AsyncIterator[Holding]:
    del store  # it is empty by now
    async with process(redis) as holding:
        yield holding


async def running(store: BuildStore, *, lease: float = 60) -> tuple[str, Credential]:
    build_id = await submit(store)
    _, who = await dispatch(store)
    await claim(store, build_id, who, lease=lease)
    return build_id, who


async def test_a_cancel_ends_the_wait(store: BuildStore, holding: Holding) -> None:
    build_id, who = await running(store)
    waiting = await holding.held(build_id, who)
    await store.records.cancel(build_id, who.user_id, who=who.user_id)
    directive = await waiting.task
    assert directive and directive.cancel


async def test_a_cancel_before_the_heartbeat_is_not_waited_for(
    store: BuildStore, holding: Holding
) -> None:
    build_id, who = await running(store)
    await store.records.cancel(build_id, who.user_id, who=who.user_id)
    directive = await holding.heartbeat(build_id, who)
    assert directive and directive.cancel


async def test_the_lease_is_renewed_when_the_heartbeat_comes_and_not_after(
    store: BuildStore, holding: Holding, redis: RedisProcess
) -> None:
    build_id, who = await running(store, lease=0.001)
    await holding.held(build_id, who)
    assert await expire(store) == []
    before, _ = await calls(redis)
    await store.leases.renew(build_id, who, lease_id=LEASE, lease=0.001, steps="[]")
    while (await calls(redis))[0] < before + 2:
        await asyncio.sleep(0.01)
    assert await expire(store) == ["worker_lost"], "although it was looked at since"


@pytest.mark.parametrize("end", ["lost", "finished", "handed back"])
async def test_a_lease_that_ends_is_refused_at_once(
    store: BuildStore, holding: Holding, end: str
) -> None:
    build_id, who = await running(store)
    waiting = await holding.held(build_id, who)
    refusal: type[Exception] = errors.LeaseLost
    match end:
        case "lost":
            await store.leases.renew(build_id, who, lease_id=LEASE, lease=-1)
            assert await expire(store) == ["worker_lost"]
        case "handed back":
            await store.leases.hand_back(build_id, who, lease_id=LEASE, max_wait=60)
        case _:
            await store.leases.finish(build_id, who, lease_id=LEASE, result=result())
            refusal = errors.BuildFinal
    with pytest.raises(refusal):
        await waiting.task


async def test_without_an_order_it_ends_with_its_time(store: BuildStore, holding: Holding) -> None:
    build_id, who = await running(store)
    assert await holding.heartbeat(build_id, who, seconds=0.1) is None


async def test_it_ends_as_soon_as_nobody_hears(store: BuildStore, holding: Holding) -> None:
    build_id, who = await running(store)
    waiting = await holding.held(build_id, who)
    waiting.client.leaves.set()
    assert await waiting.task is None
    assert not holding.changes._wake_ups


async def test_all_end_with_their_process(store: BuildStore, holding: Holding) -> None:
    build_id, who = await running(store)
    waiting = await holding.held(build_id, who)
    holding.changes.stop()
    assert await waiting.task is None
    assert await holding.heartbeat(build_id, who) is None, "nor does it begin to wait"


async def test_a_cancel_whose_news_is_lost_is_heard_once_the_store_is_back(
    store: BuildStore, holding: Holding, redis: RedisProcess
) -> None:
    build_id, who = await running(store)
    waiting = await holding.held(build_id, who)
    async with connect(redis.url) as client:
        # The order is there, and nothing was published of it.
        await client.hset(f"{{baton}}:build:{build_id}", "cancel_at", "1")
        assert await client.client_kill_filter(_type="pubsub")
    directive = await waiting.task
    assert directive and directive.cancel


async def calls(redis: RedisProcess) -> tuple[int, int]:
    """How many scripts were run, and how many connections there are."""
    async with connect(redis.url) as client:
        stats: Any = await client.info("commandstats")
        clients: Any = await client.info("clients")
    return int(stats["cmdstat_evalsha"]["calls"]), int(clients["connected_clients"])


async def test_many_that_are_held_cost_no_connection_and_no_call(
    store: BuildStore, holding: Holding, redis: RedisProcess
) -> None:
    builds = [await running(store) for _ in range(90)]
    waiting = [await holding.held(*each) for each in builds]
    one, who = builds[0]
    # Redis has each script by now: none is sent anew.
    await append(store, one, who, 0, b"a log")
    await store.records.cancel(builds[1][0], who.user_id, who=who.user_id)
    await waiting.pop(1).task
    before = await calls(redis)
    await asyncio.sleep(1)
    assert await calls(redis) == before, "nobody asks, and all share what there is"
    await append(store, one, who, 5, b" that grows is no order")
    await store.records.cancel(one, who.user_id, who=who.user_id)
    directive = await waiting[0].task
    assert directive and directive.cancel
    scripts, connections = await calls(redis)
    assert connections == before[1]
    assert scripts == before[0] + 3, "the append, the cancel, and one look at that build"
    assert not any(each.task.done() for each in waiting[1:])
    holding.changes.stop()
    assert {await each.task for each in waiting[1:]} == {None}
    assert not holding.changes._wake_ups


@pytest.mark.parametrize(
    ("lease", "wanted", "held"), [(30, 60, 10), (30, 7, 7), (4, 60, 1), (2, 60, 0), (14400, 60, 20)]
)
def test_it_is_held_for_a_third_of_the_lease_at_most(lease: float, wanted: int, held: int) -> None:
    no: Any = None
    assert HeldHeartbeats(no, no, lease=lease).hold_time(wanted) == held
