"""Logs as they lie in Redis, to be read; `Leases.append` writes them."""

from typing import Any

from redis.asyncio import Redis

from app.builds import errors
from app.builds.store import keys
from app.builds.store.connection import answering
from app.contract.status import Status


class Logs:
    def __init__(self, redis: "Redis") -> None:
        self._redis = redis

    async def state(self, build_id: str) -> tuple[str, Status, int]:
        """The owner, status and log length of a build, read together. Raises `NotFound`."""
        async with answering():
            pipe = self._redis.pipeline(transaction=True)
            pipe.hmget(keys.build(build_id), "owner", "status")
            pipe.strlen(keys.log(build_id))
            (owner, status), length = await pipe.execute()
        if owner is None:
            raise errors.NotFound(errors.NotFound.__doc__)
        return owner.decode(), Status(status.decode()), length

    async def read(self, build_id: str, start: int, stop: int) -> bytes:
        """The bytes from `start` up to, not including, `stop`; fewer where the log ends."""
        if stop <= start:
            return b""
        async with answering():
            data: Any = await self._redis.getrange(keys.log(build_id), start, stop - 1)
        return bytes(data)
