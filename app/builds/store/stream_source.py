"""The stream source tells how far a log is, and which of an owner's builds changed."""

from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from app.builds.errors import NotFound
from app.builds.store import keys
from app.builds.store.connection import translate_errors


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """A build at one moment."""

    version: int  #: of its record
    length: int  #: bytes of its log
    data: bytes  #: the part of the log that was asked for


class StreamSource:
    """Every method raises `StoreUnavailable` when Redis does not answer."""

    def __init__(self, redis: "Redis") -> None:
        self._redis = redis

    async def snapshot(self, build_id: str, start: int, size: int) -> Snapshot:
        """Return a build's version, and up to `size` bytes of its log from `start` on. Raises
        `NotFound`."""
        async with translate_errors():
            pipe = self._redis.pipeline(transaction=True)
            pipe.hmget(keys.build(build_id), "status", "version")
            pipe.strlen(keys.log(build_id))
            # The end is inclusive, and Redis reads -1 as the last byte of the log.
            pipe.getrange(keys.log(build_id), start, start + max(0, size - 1))
            found: Any = await pipe.execute()
        (status, version), length, data = found
        if status is None:
            raise NotFound(NotFound.__doc__)
        return Snapshot(version=int(version or 0), length=length, data=bytes(data[:size]))

    async def latest(self, owner: str) -> int:
        """Return the version of the last change of an owner's builds; 0 if there is none."""
        async with translate_errors():
            found: Any = await self._redis.zrange(
                keys.changes(owner), 0, 0, desc=True, withscores=True
            )
        return int(found[0][1]) if found else 0

    async def after(self, owner: str, version: int, most: int) -> list[tuple[int, str]]:
        """Return up to `most` builds of an owner that changed after `version`, oldest change first.

        Each comes as the version of its last change, and its id.
        """
        async with translate_errors():
            found: Any = await self._redis.zrange(
                keys.changes(owner), f"({version}", "+inf", byscore=True, offset=0, num=most,
                withscores=True,
            )  # fmt: skip
        return [(int(score), build_id.decode()) for build_id, score in found]
