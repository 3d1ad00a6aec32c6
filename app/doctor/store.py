"""The store's check: Redis answers, is new enough, keeps what it stores, and is near."""

import re
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    NoPermissionError,
    RedisError,
    ResponseError,
)

from app.builds.store import connect
from app.config.settings import Settings
from app.contract.doctor import Finding, clock
from app.doctor.redact_url import failure, redact_url

_CHECK: Final = "store"

#: The first version that has all commands of the scripts, and the ACL rules of workers.
_MIN_VERSION: Final = (6, 2)
#: Seconds of the longest good round trip; every call of the API takes one to three.
_MAX_ROUND_TRIP: Final = 0.05
_PINGS: Final = 7
_DOC: Final = "docs/outages.md, What can be lost"


async def check_store(settings: Settings) -> list[Finding]:
    """Return the findings about Redis' version, latency, memory policy, persistence and clock."""
    url = settings.redis_url.get_secret_value()
    redis = connect(url)
    try:
        return [each async for each in _inspect(redis, settings.leeway)]
    except (AuthenticationError, AuthorizationError, NoPermissionError) as error:
        return [
            Finding.wrong(
                _CHECK,
                f"Redis at {redact_url(url)} does not let us in: {failure(error)}",
                "put the user and password of Redis into BATON_REDIS_URL "
                "(redis://user:password@host); `baton secrets` writes both sides",
            )
        ]
    except (RedisError, OSError) as error:
        return [
            Finding.wrong(
                _CHECK,
                f"Redis at {redact_url(url)} does not answer: {failure(error)}",
                "see that it runs and that BATON_REDIS_URL names it (rediss:// for TLS)",
            )
        ]
    finally:
        await redis.aclose()


async def _inspect(redis: "Redis", leeway: float) -> AsyncIterator[Finding]:
    await redis.ping()
    trips = []
    ahead = 0.0
    for _ in range(_PINGS):
        begun = time.perf_counter()
        sent = time.time()
        seconds, micros = await redis.time()
        trips.append(time.perf_counter() - begun)
        ahead = seconds + micros / 1e6 - (sent + time.time()) / 2
    trip = min(trips)  # the others include waits for other checks of this process
    try:
        info: Mapping[str, Any] = await redis.info()
    except ResponseError as error:
        yield Finding.wrong(
            _CHECK,
            f"Redis answers in {trip * 1000:.1f} ms, but does not tell about itself: {error}",
            "allow Baton's user the command INFO (+info)",
        )
    else:
        yield _version(info, trip)
        if trip > _MAX_ROUND_TRIP:
            yield Finding.wrong(
                "store latency",
                f"a round trip takes {trip * 1000:.0f} ms, and every call of the API needs some",
                "put Redis into the network of the API",
            )
        for each in _durability(info):
            yield each
    yield clock("the store's", ahead, leeway=leeway)


def _version(info: Mapping[str, Any], trip: float) -> Finding:
    name = "Valkey" if "valkey_version" in info else "Redis"
    version = str(info.get("valkey_version") or info.get("redis_version", ""))
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
    if numbers < _MIN_VERSION:
        return Finding.wrong(
            _CHECK,
            f"{name} {version} is too old: Baton needs Redis 6.2 or Valkey",
            "upgrade the server that BATON_REDIS_URL names",
        )
    return Finding.ok(_CHECK, f"{name} {version} answers in {trip * 1000:.1f} ms")


def _durability(info: Mapping[str, Any]) -> Iterator[Finding]:
    policy = info.get("maxmemory_policy", "noeviction")
    if policy == "noeviction":
        yield Finding.ok("store memory", "maxmemory-policy is noeviction")
    else:
        yield Finding.wrong(
            "store memory",
            f"maxmemory-policy is {policy}: when memory is short, Redis throws builds away",
            f"set maxmemory-policy to noeviction in Redis ({_DOC})",
        )
    if not info.get("aof_enabled"):
        yield Finding.wrong(
            "store persistence",
            "Redis writes no append-only file: a restart loses builds",
            f"set appendonly to yes and appendfsync to everysec in Redis ({_DOC})",
        )
    elif info.get("aof_last_write_status", "ok") != "ok":
        yield Finding.wrong(
            "store persistence",
            "Redis failed to write its append-only file",
            "see Redis' log; most often its disk is full",
        )
    else:
        yield Finding.ok("store persistence", "Redis keeps an append-only file")
