"""The way to Redis: a client whose calls are bounded, and what its failures mean."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    BusyLoadingError,
    ConnectionError as RedisConnectionError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TimeoutError as RedisTimeoutError,
)

from app.builds.errors import StoreUnavailable
from app.builds.store.pipelined import TIMEOUT

#: Connections of one API process; followers share them, so none is held while waiting.
_CONNECTIONS: Final = 64

_UNAVAILABLE = (
    RedisConnectionError,
    RedisTimeoutError,
    BusyLoadingError,
    ReadOnlyError,
    OutOfMemoryError,
    OSError,
)

#: The first words of Redis' own errors that say that it cannot write, or not now.
_PASSING: Final = (
    "MISCONF", "NOREPLICAS", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "BUSY", "UNKILLABLE", "OOM",
)  # fmt: skip


def connect(url: str) -> "Redis":
    """A client for `url` whose every call is bounded in time and made once."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=_CONNECTIONS,
        timeout=TIMEOUT,
        socket_timeout=TIMEOUT,
        socket_connect_timeout=TIMEOUT,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=0,
    )
    return Redis.from_pool(pool)


@asynccontextmanager
async def answering() -> AsyncIterator[None]:
    """Raises `StoreUnavailable` when Redis does not answer, or takes no writes now."""
    try:
        yield
    except _UNAVAILABLE as error:
        raise StoreUnavailable(f"the store did not answer ({type(error).__name__})") from error
    except ResponseError as error:
        # Redis before 7 puts a script's error behind words of its own: `… -MISCONF …`.
        word = next((word for word in _PASSING if re.search(rf"(^|-){word}\b", str(error))), None)
        if word is None:
            raise
        raise StoreUnavailable(f"the store takes no writes ({word})") from error
