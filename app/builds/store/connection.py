"""The way to Redis: a client whose calls are bounded, and what its failures mean."""

import re
from contextlib import AbstractAsyncContextManager
from types import TracebackType
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
from app.builds.store.pipelined import CALL_TIMEOUT

#: Connections of one API process; followers share them, so none is held while waiting.
_MAX_CONNECTIONS: Final = 64

_UNAVAILABLE = (
    RedisConnectionError,
    RedisTimeoutError,
    BusyLoadingError,
    ReadOnlyError,
    OutOfMemoryError,
    OSError,
)

#: The first words of Redis' own errors that say that it cannot write, or not now.
_TRANSIENT_ERRORS: Final = (
    "MISCONF", "NOREPLICAS", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "BUSY", "UNKILLABLE", "OOM",
)  # fmt: skip


def connect(url: str) -> "Redis":
    """A client for `url` whose every call is bounded in time and made once."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=_MAX_CONNECTIONS,
        timeout=CALL_TIMEOUT,
        socket_timeout=CALL_TIMEOUT,
        socket_connect_timeout=CALL_TIMEOUT,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=0,
    )
    return Redis.from_pool(pool)


class _Answering:
    """What `answering` returns."""

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, _UNAVAILABLE):
            name = type(error).__name__
            raise StoreUnavailable(f"the store did not answer ({name})") from error
        if isinstance(error, ResponseError):
            # Redis before 7 puts a script's error behind words of its own: `… -MISCONF …`.
            said = str(error)
            word = next(
                (word for word in _TRANSIENT_ERRORS if re.search(rf"(^|-){word}\b", said)), None
            )
            if word is not None:
                raise StoreUnavailable(f"the store takes no writes ({word})") from error


_ANSWERING: Final = _Answering()


def answering() -> AbstractAsyncContextManager[None]:
    """Raises `StoreUnavailable` when Redis does not answer, or takes no writes now.

    One object for all: it stands around every call, and keeps nothing.
    """
    return _ANSWERING
