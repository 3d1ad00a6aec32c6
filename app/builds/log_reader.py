"""Reading a build's log: a part of it, or its digest."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import Final

from app.builds.store.logs import Logs

#: Bytes read from the store at a time: what one reader holds in memory.
CHUNK_BYTES: Final = 64 * 1024
#: Bytes hashed at a time; each is handed to a thread.
_HASH_CHUNK_BYTES: Final = 1024 * 1024


class LogReader:
    def __init__(self, logs: Logs) -> None:
        self._logs = logs

    async def read(self, build_id: str, start: int, stop: int) -> AsyncIterator[bytes]:
        """The bytes from `start` up to `stop`, in pieces."""
        while start < stop:
            piece = await self._logs.read(build_id, start, min(stop, start + CHUNK_BYTES))
            if not piece:
                return
            start += len(piece)
            yield piece

    async def sha256(self, build_id: str, start: int, stop: int, more: bytes = b"") -> str:
        """The digest of the bytes from `start` up to `stop`, and of `more` after them, in hex."""
        digest = hashlib.sha256()
        while start < stop:
            piece = await self._logs.read(build_id, start, min(stop, start + _HASH_CHUNK_BYTES))
            if not piece:
                break
            if len(piece) < CHUNK_BYTES:
                digest.update(piece)
            else:
                await asyncio.to_thread(digest.update, piece)
            start += len(piece)
        digest.update(more)
        return digest.hexdigest()
