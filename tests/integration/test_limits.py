"""Quotas of requests, counted in a real Redis."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from limits.aio.storage import RedisStorage
from redis.asyncio import Redis

from app.api import limits
from app.api.limits import Quota, address
from app.builds.store import connect
from app.config.rates import parse_rate
from tests.support.servers.redis_process import RedisProcess


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class Replicas:
    """Quotas of processes that share a Redis, each over connections of its own."""

    def __init__(self, url: str) -> None:
        self.clock = Clock()
        self._url = url
        self._clients: list[Redis] = []

    def quota(self, text: str) -> Quota:
        found = parse_rate(text)
        assert found
        client = connect(self._url)
        self._clients.append(client)
        pool: Any = client.connection_pool  # documented, but its type says otherwise
        storage = RedisStorage(
            "async+redis://",
            implementation="redispy",
            key_prefix="rates",
            connection_pool=pool,
        )
        return Quota("user", found, storage, clock=self.clock)

    async def close(self) -> None:
        for client in self._clients:
            await client.aclose()


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    data: Path = tmp_path_factory.mktemp("redis")
    with RedisProcess(data) as process:
        yield process


@pytest.fixture
async def admin(redis: RedisProcess) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis.url) as client:
        await client.flushall()
        await client.config_resetstat()
        yield client


@pytest.fixture
async def replicas(redis: RedisProcess, admin: Redis) -> AsyncIterator[Replicas]:
    del admin
    found = Replicas(redis.url)
    yield found
    await found.close()


async def allowed(quota: Quota, times: int, key: str = "ann") -> int:
    standings = [await quota.take(key) for _ in range(times)]
    return sum(standing is not None and standing.allowed for standing in standings)


async def round_trips(admin: Redis) -> int:
    stats = await admin.info("commandstats")
    return int(stats.get("cmdstat_evalsha", {"calls": 0})["calls"])


async def test_a_quota_is_used_up_one_by_one(replicas: Replicas) -> None:
    quota = replicas.quota("3/minute")
    replicas.clock.now = 60 * 1000 + 17.5
    standings = [await quota.take("ann") for _ in range(4)]
    assert [(each.allowed, each.remaining) for each in standings if each] == [
        (True, 2), (True, 1), (True, 0), (False, 0),
    ]  # fmt: skip
    assert {each.reset for each in standings if each} == {43}
    assert await allowed(quota, 4, "bob") == 3


async def test_the_next_window_begins_anew(replicas: Replicas) -> None:
    quota = replicas.quota("3/second")
    assert await allowed(quota, 9) == 3
    replicas.clock.now += 1
    assert await allowed(quota, 9) == 3


@pytest.mark.parametrize("amount", [7, 1000])
async def test_replicas_share_a_quota(replicas: Replicas, amount: int) -> None:
    one, other = (replicas.quota(f"{amount}/hour") for _ in range(2))
    got = 0
    for _ in range(amount):
        got += await allowed(one, 1) + await allowed(other, 1)
    assert got == amount


async def test_what_one_replica_does_not_use_is_a_hundredth_at_most(replicas: Replicas) -> None:
    idle, busy = (replicas.quota("1000/hour") for _ in range(2))
    assert await allowed(idle, 1) == 1
    assert await allowed(busy, 2000) == 990


async def test_requests_at_once_are_not_more_than_the_quota(replicas: Replicas) -> None:
    quota = replicas.quota("30/hour")
    standings = await asyncio.gather(*(quota.take("ann") for _ in range(100)))
    assert sum(each is not None and each.allowed for each in standings) == 30


async def test_most_requests_cost_no_round_trip(replicas: Replicas, admin: Redis) -> None:
    quota = replicas.quota("6000/minute")
    assert await allowed(quota, 600) == 600
    assert await round_trips(admin) <= 11  # a failed EVALSHA loads the script


async def test_refusals_cost_no_round_trip(replicas: Replicas, admin: Redis) -> None:
    quota = replicas.quota("5/minute")
    await allowed(quota, 5)
    before = await round_trips(admin)
    assert await allowed(quota, 1000) == 0
    assert await round_trips(admin) <= before + 1


async def test_every_counter_expires(replicas: Replicas, admin: Redis) -> None:
    quota = replicas.quota("5/hour")
    for key in ("ann", "bob", "auth0|x y/z\n"):
        await quota.take(key)
    names = await admin.keys()
    assert len(names) == 3
    for name in names:
        assert 0 < await admin.ttl(name) <= 3600


async def test_a_process_keeps_a_bounded_number_of_keys_in_mind(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "_MAX_CACHED_SHARES", 10)
    quota = replicas.quota("5/hour")
    for number in range(50):
        await quota.take(f"user {number}")
    assert len(quota._shares) == 10
    assert await allowed(quota, 9, "user 0") == 4  # forgotten here, not in Redis


async def test_nobody_is_refused_or_kept_waiting_while_redis_is_away(
    replicas: Replicas,
    redis: RedisProcess,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(limits, "_COUNT_TIMEOUT", 0.2)
    monkeypatch.setattr(limits, "_STORE_RETRY_INTERVAL", 3600.0)
    quota = replicas.quota("5/hour")
    assert await allowed(quota, 1) == 1
    redis.send(signal.SIGSTOP)
    try:
        with caplog.at_level(logging.WARNING):
            assert [await quota.take("ann") for _ in range(100)] == [None] * 100
        assert len(caplog.records) == 1  # one of them waited; the others did not
    finally:
        redis.send(signal.SIGCONT)
    quota._away_until = 0.0
    # The one that waited may have been counted; nothing else of the outage is.
    assert await allowed(quota, 9) in {3, 4}


async def test_redis_may_be_gone_altogether(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with RedisProcess(tmp_path) as process:
        replicas = Replicas(process.url)
        quota = replicas.quota("5/hour")
        await quota.take("ann")
        process.stop()
        assert await quota.take("ann") is None
        assert "requests are not counted" in caplog.text
        await replicas.close()


@pytest.mark.parametrize(
    ("host", "counts_as"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", "testclient"),
    ],
)
def test_addresses_that_one_customer_has_count_as_one(host: str, counts_as: str) -> None:
    assert address(host) == counts_as


@pytest.mark.parametrize("text", ["", "600", "600/fortnight", "0/minute", "-1/hour", "1/minute;2"])
def test_a_rate_that_nobody_understands_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="600/minute"):
        parse_rate(text)


def test_nought_is_no_limit() -> None:
    assert parse_rate("0") is None
