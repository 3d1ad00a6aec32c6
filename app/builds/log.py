"""Reading a build's log: a part of it, its digest, or all of it as it grows."""

import asyncio
import hashlib
import logging
import time
from collections.abc import AsyncIterator
from typing import Final

from app.builds.changes import Changes
from app.builds.errors import StoreUnavailable
from app.builds.store import BuildStore

log = logging.getLogger(__name__)

#: Bytes read from the store at a time: what one reader holds in memory.
CHUNK: Final = 64 * 1024
#: Bytes hashed at a time; each is handed to a thread.
_HASH_CHUNK: Final = 1024 * 1024
#: Seconds between looks at a quiet log when nothing rings.
_IDLE: Final = 5.0
#: Seconds between looks while the store is away.
_OUTAGE: Final = 1.0


class LogReader:
    def __init__(self, store: BuildStore, changes: Changes) -> None:
        self._store = store
        self._changes = changes

    async def read(self, build_id: str, start: int, stop: int) -> AsyncIterator[bytes]:
        """The bytes from `start` up to `stop`, in pieces."""
        while start < stop:
            piece = await self._store.read_log(build_id, start, min(stop, start + CHUNK))
            if not piece:
                return
            start += len(piece)
            yield piece

    async def follow(self, build_id: str, start: int, *, until: float) -> AsyncIterator[bytes]:
        """The bytes from `start` on as they come, until the build ends or the time `until`.

        `until` is in seconds since 1970: a stream ends with the token that opened it, and when this
        process is told to end. An outage of the store makes the stream wait, not end.
        """
        with self._changes.watch(build_id) as bell:
            while time.time() < until and not self._changes.stopping:
                try:
                    _, status, length = await self._store.log_state(build_id)
                    # Status and length were read together: at a final status the log is complete.
                    async for piece in self.read(build_id, start, length):
                        start += len(piece)
                        yield piece
                except StoreUnavailable as error:
                    log.warning("a follower waits: %s", error)
                    await asyncio.sleep(_OUTAGE)
                    continue
                if status.final:
                    return
                await bell.wait(min(_IDLE, max(0.0, until - time.time())))

    async def sha256(self, build_id: str, start: int, stop: int) -> str:
        """The digest of the bytes from `start` up to `stop`, in hex."""
        digest = hashlib.sha256()
        while start < stop:
            piece = await self._store.read_log(build_id, start, min(stop, start + _HASH_CHUNK))
            if not piece:
                break
            if len(piece) < CHUNK:
                digest.update(piece)
            else:
                await asyncio.to_thread(digest.update, piece)
            start += len(piece)
        return digest.hexdigest()
