"""What the store tells of builds that wait, on a real Redis."""

from collections.abc import AsyncIterator

import pytest

from app.builds.store import BuildStore, connect
from app.builds.store.queue_reader import QueueReader
from tests.seams.stored import claim, dispatch, result, submit
from tests.support.servers.redis_process import RedisProcess

ANN, BOB = "auth0|ann", "auth0|bob"


@pytest.fixture
async def waits(redis: RedisProcess) -> AsyncIterator[QueueReader]:
    client = connect(redis.url)
    yield QueueReader(client)
    await client.aclose()


async def test_ranks_and_counts_follow_the_builds(store: BuildStore, waits: QueueReader) -> None:
    first = await submit(store, ANN)
    await submit(store, BOB)
    second = await submit(store, ANN)

    wait = await waits.read(ANN, second)
    assert (wait.rank, wait.turn, wait.users, wait.queued) == (1, 0, 2, 3)
    assert (wait.dispatched, wait.dispatched_rank, wait.active, wait.running) == (0, None, 0, 0)
    assert wait.worker_seen is None and wait.mean_run is None and wait.runs == 0

    sent, who = await dispatch(store, queue_ttl=60)
    assert sent == first
    wait = await waits.read(ANN, first)
    assert (wait.rank, wait.dispatched_rank, wait.dispatched, wait.sent) == (None, 0, 1, True)
    assert wait.claim_by is not None and wait.claim_by > wait.now
    wait = await waits.read(ANN, second)
    assert (wait.rank, wait.active, wait.dispatched) == (0, 1, 1)

    await claim(store, first, who)
    wait = await waits.read(ANN, second)
    assert (wait.queued, wait.dispatched, wait.running) == (2, 0, 1)
    assert wait.worker_seen is not None and wait.worker_seen <= wait.now


async def test_how_long_builds_run_is_learned_from_their_ends(
    store: BuildStore, waits: QueueReader
) -> None:
    build_id = await submit(store, ANN)
    _, who = await dispatch(store)
    held = await claim(store, build_id, who)
    await store.leases.finish(build_id, who, lease_id=held.lease_id, result=result())
    wait = await waits.read(ANN, await submit(store, ANN))
    assert wait.runs == 1
    assert wait.mean_run is not None and wait.mean_run >= 0


async def test_one_that_was_put_back_says_why_and_until_when(
    store: BuildStore, waits: QueueReader
) -> None:
    build_id = await submit(store, ANN)
    taken = await store.dispatching.take(window=10, limit=10, hold=60)
    assert taken
    await store.dispatching.put_back(taken, delay=30, reason="no_token", message="it said 503")
    wait = await waits.read(ANN, build_id)
    assert (wait.reason, wait.message, wait.rank) == ("no_token", "it said 503", None)
    assert wait.retry_at is not None and 0 < wait.retry_at - wait.now <= 30
