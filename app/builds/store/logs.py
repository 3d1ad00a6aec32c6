"""`Logs` reads logs from Redis; `Leases.append` writes them."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import Any, Final

from redis.asyncio import Redis

from app.builds import errors
from app.builds.store import keys
from app.builds.store.connection import translate_errors
from app.contract.status import Status

#: Bytes read from the store at a time, and so the memory that one request takes.
CHUNK_BYTES: Final = 64 * 1024
#: Bytes hashed at a time, in a thread.
_HASH_CHUNK_BYTES: Final = 1024 * 1024


class Logs:
    """Every method raises `StoreUnavailable` when Redis does not answer."""

    def __init__(self, redis: "Redis") -> None:
        self._redis = redis

    async def state(self, build_id: str) -> tuple[str, Status, int]:
        """Return the owner, status and log length in bytes of a build, read together.

        Raises `NotFound`.
        """
        async with translate_errors():
            pipe = self._redis.pipeline(transaction=True)
            pipe.hmget(keys.build(build_id), "owner", "status")
            pipe.strlen(keys.log(build_id))
            (owner, status), length = await pipe.execute()
        if owner is None:
            raise errors.NotFound(errors.NotFound.__doc__)
        return owner.decode(), Status(status.decode()), length

    async def read(self, build_id: str, start: int, stop: int) -> bytes:
        """Return the bytes from `start` up to, not including, `stop`; fewer where the log ends."""
        if stop <= start:
            return b""
        async with translate_errors():
            data: Any = await self._redis.getrange(keys.log(build_id), start, stop - 1)
        return bytes(data)

    async def pieces(self, build_id: str, start: int, stop: int) -> AsyncIterator[bytes]:
        """Yield the bytes from `start` up to, not including, `stop`; fewer where the log ends."""
        while start < stop:
            piece = await self.read(build_id, start, min(stop, start + CHUNK_BYTES))
            if not piece:
                return
            start += len(piece)
            yield piece

    async def sha256(self, build_id: str, start: int, stop: int, tail: bytes = b"") -> str:
        """Return the SHA-256 of the bytes from `start` up to `stop`, followed by `tail`, in hex."""
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
        digest.update(tail)
        return digest.hexdigest()
