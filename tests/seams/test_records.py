"""Records, pages, labels and cancels: what owners reach, on a real Redis."""

import asyncio

import pytest

from app.builds import errors
from app.builds.store import BuildStore, connect
from app.contract.status import Status
from tests.seams.stored import (
    IDS,
    claim,
    dispatch,
    expire,
    status_of,
    submit,
    take,
)
from tests.support.servers.redis_process import RedisProcess


@pytest.mark.parametrize("protocol", [2, 3])
async def test_a_record_is_the_same_in_either_protocol(redis: RedisProcess, protocol: int) -> None:
    store = BuildStore(connect(f"{redis.url}?protocol={protocol}"))
    build_id = await submit(store, labels={"pr": "17"})
    assert (await store.records.get(build_id)).view.status is Status.QUEUED
    with pytest.raises(errors.NotFound):
        await store.records.get(IDS.new())
    await store.close()


async def test_a_queued_build_is_cancelled_at_once_wherever_it_waits(store: BuildStore) -> None:
    queued, dispatched = await submit(store), None
    await store.records.cancel(queued, "auth0|ann", who="auth0|ann")
    assert await take(store) is None
    await submit(store)
    dispatched, who = await dispatch(store)
    await store.records.cancel(dispatched, "auth0|ann", who="auth0|ann")
    with pytest.raises(errors.BuildFinal):
        await claim(store, dispatched, who)
    await store.records.cancel(dispatched, "auth0|ann", who="auth0|ann")  # twice is fine
    view = (await store.records.get(dispatched)).view
    assert (view.status, view.cancelled_by) == (Status.CANCELLED, "auth0|ann")
    with pytest.raises(errors.NotFound):
        await store.records.cancel(dispatched, "auth0|bob", who="auth0|bob")


async def test_a_running_build_is_asked_to_end_and_its_loss_ends_it(store: BuildStore) -> None:
    await submit(store)
    build_id, who = await dispatch(store)
    await claim(store, build_id, who)
    await store.records.cancel(build_id, "auth0|ann", who="auth0|ann")
    assert await store.leases.renew(build_id, who, lease_id="lease of nonce", lease=0.001)
    await asyncio.sleep(0.01)
    assert await expire(store) == ["cancelled"]
    assert await status_of(store, build_id) == Status.CANCELLED


async def test_an_idempotency_key_makes_one_build(store: BuildStore) -> None:
    first = await asyncio.gather(*(submit(store, key=("key", "body")) for _ in range(20)))
    assert len(set(first)) == 1
    with pytest.raises(errors.KeyReused):
        await submit(store, key=("key", "other body"))
    assert await submit(store, "auth0|bob", key=("key", "other body")) not in first


async def test_pages_follow_each_other_newest_first(store: BuildStore) -> None:
    ids = [await submit(store) for _ in range(5)]
    await submit(store, "auth0|bob")
    await store.records.cancel(ids[0], "auth0|ann", who="auth0|ann")
    page, following = await store.records.page("auth0|ann", status=None, before=None, limit=3)
    assert [build.view.id for build in page] == ids[:1:-1]
    assert following == ids[2]
    rest, following = await store.records.page("auth0|ann", status=None, before=ids[2], limit=2)
    assert [build.view.id for build in rest] == [ids[1], ids[0]]
    assert following is None
    cancelled, _ = await store.records.page(
        "auth0|ann", status=Status.CANCELLED, before=None, limit=3
    )
    assert [build.view.id for build in cancelled] == [ids[0]]


async def test_builds_are_found_by_all_of_the_labels_that_are_wanted(store: BuildStore) -> None:
    both = await submit(store, labels={"pr": "17", "team": "web"})
    await submit(store, "auth0|bob", labels={"pr": "17", "team": "web"})
    other = await submit(store, labels={"pr": "18", "team": "web"})
    odd = await submit(store, labels={"url:a": "b:c", "empty": "", "ä\n": "ö"})
    await submit(store)
    await store.records.cancel(both, "auth0|ann", who="auth0|ann")

    async def found(*labels: str, status: Status | None = None) -> list[str]:
        page, following = await store.records.page(
            "auth0|ann", status=status, before=None, limit=3, labels=labels
        )
        assert following is None
        return [build.view.id for build in page]

    assert await found("pr") == [other, both]
    assert await found("pr:17") == [both]
    assert await found("team:web", "pr:18") == [other]
    assert await found("team:web", status=Status.CANCELLED) == [both]
    for text in ("url:a:b:c", "url:a", "empty", "empty:", "ä\n:ö"):
        assert await found(text) == [odd]
    for text in ("17", "url", "pr:1", "PR", "b:c", "pr:17 "):
        assert await found(text) == []


async def test_pages_of_a_label_follow_each_other_without_a_gap_or_a_repeat(
    store: BuildStore,
) -> None:
    ids = [await submit(store, labels={"odd": str(n % 2)}) for n in range(10)]
    seen: list[str] = []
    before = None
    for expected in (2, 2, 1):
        page, before = await store.records.page(
            "auth0|ann", status=None, before=before, limit=2, labels=["odd:1"]
        )
        assert len(page) == expected
        seen += [build.view.id for build in page]
    assert (seen, before) == (ids[::-2], None)
