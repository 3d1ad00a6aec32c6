"""What followers ask the store: how far a log is, and which of an owner's builds changed."""

from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from app.builds.errors import NotFound
from app.builds.store import keys
from app.builds.store.connection import answering


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """A build at one moment."""

    version: int  #: of its record
    length: int  #: bytes of its log
    data: bytes  #: the log from where it was asked for, as much as was asked for


class StreamSource:
    """Raises `StoreUnavailable` when Redis does not answer."""

    def __init__(self, redis: "Redis") -> None:
        self._redis = redis

    async def snapshot(self, build_id: str, start: int, size: int) -> Snapshot:
        """Where a build stands, and up to `size` bytes of its log from `start` on. Raises
        `NotFound`."""
        async with answering():
            pipe = self._redis.pipeline(transaction=True)
            pipe.hmget(keys.build(build_id), "status", "version")
            pipe.strlen(keys.log(build_id))
            # The end is inclusive, and one before the beginning of the log would be its last byte.
            pipe.getrange(keys.log(build_id), start, start + max(0, size - 1))
            found: Any = await pipe.execute()
        (status, version), length, data = found
        if status is None:
            raise NotFound(NotFound.__doc__)
        return Snapshot(version=int(version or 0), length=length, data=bytes(data[:size]))

    async def latest(self, owner: str) -> int:
        """The version of an owner's last change; 0 without any."""
        async with answering():
            found: Any = await self._redis.zrange(
                keys.changes(owner), 0, 0, desc=True, withscores=True
            )
        return int(found[0][1]) if found else 0

    async def after(self, owner: str, version: int, most: int) -> list[tuple[int, str]]:
        """Up to `most` builds of an owner that changed after `version`, each with the version of
        its last change, in their order."""
        async with answering():
            found: Any = await self._redis.zrange(
                keys.changes(owner), f"({version}", "+inf", byscore=True, offset=0, num=most,
                withscores=True,
            )  # fmt: skip
        return [(int(score), build_id.decode()) for build_id, score in found]
