"""The connection to Redis has bounded calls, and one mapping of Redis' failures to our errors."""

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

#: Connections of one API process. Streams share them: none is held while a stream waits.
_MAX_CONNECTIONS: Final = 64

_UNAVAILABLE = (
    RedisConnectionError,
    RedisTimeoutError,
    BusyLoadingError,
    ReadOnlyError,
    OutOfMemoryError,
    OSError,
)

#: The first words of the errors with which Redis says that it cannot write now.
_TRANSIENT_ERRORS: Final = (
    "MISCONF", "NOREPLICAS", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "BUSY", "UNKILLABLE", "OOM",
)  # fmt: skip


def connect(url: str) -> "Redis":
    """Return a client for `url` whose calls end after `CALL_TIMEOUT` and are never retried."""
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


class _ErrorTranslation:
    """The context that `translate_errors` returns."""

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
            # Redis before 7 wraps a script's error in a text of its own: `… -MISCONF …`.
            text = str(error)
            word = next(
                (word for word in _TRANSIENT_ERRORS if re.search(rf"(^|-){word}\b", text)), None
            )
            if word is not None:
                raise StoreUnavailable(f"the store takes no writes ({word})") from error


_TRANSLATION: Final = _ErrorTranslation()


def translate_errors() -> AbstractAsyncContextManager[None]:
    """Return a context that raises `StoreUnavailable` if Redis does not answer, or takes no writes.

    All calls share one object, which has no state.
    """
    return _TRANSLATION
