"""What a build's attempts will need and nobody can get later: kept, sealed, until it is used.

It is stored with the build by the same script (`BuildStore.submit`). A claim takes away the one
that it was made with, and the build's end all of them; what is left over expires.
"""

from typing import Any

from redis.asyncio import Redis

from app.builds.store import keys
from app.builds.store.connection import answering


class PrefetchedTokenStore:
    """Raises `StoreUnavailable` when Redis does not answer; all calls may be repeated."""

    def __init__(self, redis: "Redis") -> None:
        self._redis = redis

    async def first(self, build_id: str) -> str | None:
        """What the build's next attempt has; None when nothing is left."""
        async with answering():
            found: Any = await self._redis.lindex(keys.kept(build_id), 0)
        return str(found, "ascii") if found is not None else None

    async def remove(self, build_id: str, sealed: str) -> None:
        """Throw one away that is of no use any more; fine when it is gone already."""
        async with answering():
            await self._redis.lrem(keys.kept(build_id), 1, sealed)
