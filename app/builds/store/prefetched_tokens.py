"""The sealed tokens of a build's later attempts, which its user has to be signed in to obtain.

The script `submit` stores them with the build. A claim removes the token that it was made with, the
build's end removes all; the rest expires.
"""

from typing import Any

from redis.asyncio import Redis

from app.builds.store import keys
from app.builds.store.connection import translate_errors


class PrefetchedTokenStore:
    """The store of prefetched tokens. Raises `StoreUnavailable`; every call may be repeated."""

    def __init__(self, redis: "Redis") -> None:
        self._redis = redis

    async def first(self, build_id: str) -> str | None:
        """Return the sealed token of the build's next attempt; None when none is left."""
        async with translate_errors():
            found: Any = await self._redis.lindex(keys.kept(build_id), 0)
        return str(found, "ascii") if found is not None else None

    async def remove(self, build_id: str, sealed: str) -> None:
        """Remove a token that is of no use any more; safe to call twice."""
        async with translate_errors():
            await self._redis.lrem(keys.kept(build_id), 1, sealed)
