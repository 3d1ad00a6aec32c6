"""Logs as they lie in Redis, to be read; `Leases.append` writes them."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import Any, Final

from redis.asyncio import Redis

from app.builds import errors
from app.builds.store import keys
from app.builds.store.connection import answering
from app.contract.status import Status

#: Bytes read from the store at a time: what one reader holds in memory.
CHUNK_BYTES: Final = 64 * 1024
#: Bytes hashed at a time; each is handed to a thread.
_HASH_CHUNK_BYTES: Final = 1024 * 1024


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

    async def pieces(self, build_id: str, start: int, stop: int) -> AsyncIterator[bytes]:
        """The bytes from `start` up to `stop`, in pieces."""
        while start < stop:
            piece = await self.read(build_id, start, min(stop, start + CHUNK_BYTES))
            if not piece:
                return
            start += len(piece)
            yield piece

    async def sha256(self, build_id: str, start: int, stop: int, more: bytes = b"") -> str:
        """The digest of the bytes from `start` up to `stop`, and of `more` after them, in hex."""
        digest = hashlib.sha256()
        while start < stop:
            piece = await self.read(build_id, start, min(stop, start + _HASH_CHUNK_BYTES))
            if not piece:
                break
            if len(piece) < CHUNK_BYTES:
                digest.update(piece)
            else:
                await asyncio.to_thread(digest.update, piece)
            start += len(piece)
        digest.update(more)
        return digest.hexdigest()
