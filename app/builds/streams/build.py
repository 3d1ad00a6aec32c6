"""One build, for all who follow it: its changes, and its log as it grows."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Final

from app.builds.errors import StoreUnavailable
from app.builds.pubsub import PubSub
from app.builds.store import BuildStore
from app.builds.streams.stream import OUTAGE_POLL_INTERVAL, Change, Stream, StreamSignal
from app.builds.streams.subscriber import Subscriber

#: Bytes of a log that are read at a time, and the most that a follower holds.
CHUNK_BYTES: Final = 64 * 1024
#: Bytes, and pieces, of the log's end that are kept for followers who keep up.
_MAX_CACHED_BYTES: Final = 512 * 1024
_MAX_CACHED_PIECES: Final = 256


@dataclass(frozen=True, slots=True, eq=False)
class LogPiece:
    """Bytes of a log. Compared by identity: the same for all followers who keep up."""

    start: int
    data: bytes
    end: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "end", self.start + len(self.data))


@dataclass(frozen=True, slots=True)
class Position:
    """How far a follower has come."""

    version: int = 0  #: of the last change that it heard of
    offset: int = 0  #: bytes of the log that it has


class BuildStream(Stream):
    def __init__(self, build_id: str, store: BuildStore, pubsub: PubSub) -> None:
        super().__init__(build_id, pubsub)
        self._id = build_id
        self._store = store
        self._change: Change | None = None
        self._pieces: deque[LogPiece] = deque()
        self._kept = 0
        #: Where what is kept begins, and where the log ends; None before the first look.
        self._first = 0
        self._end: int | None = None

    async def _look(self) -> bool:
        change, known = self._change, self._end
        seen = await self._store.streams.snapshot(
            self._id, known or 0, CHUNK_BYTES if known is not None else 0
        )
        if change is None or seen.version != change.version:
            build = await self._store.records.get(self._id)
            self._change = Change(build.version, build.view)
        if known is None or seen.length - known > _MAX_CACHED_BYTES:
            self._forget(seen.length)
        elif seen.length > known:
            self._keep(LogPiece(known, seen.data))
            while known + len(seen.data) < seen.length:  # a burst
                known += len(seen.data)
                seen = await self._store.streams.snapshot(self._id, known, CHUNK_BYTES)
                self._keep(LogPiece(known, seen.data))
        elif seen.length < known:  # the store has lost its last moments; they come again
            self._forget(seen.length)
        return self._change is not change or self._end != known

    def _forget(self, end: int) -> None:
        self._pieces.clear()
        self._kept = 0
        self._first = self._end = end

    def _keep(self, piece: LogPiece) -> None:
        self._pieces.append(piece)
        self._kept += len(piece.data)
        self._end = piece.end
        while self._kept > _MAX_CACHED_BYTES or len(self._pieces) > _MAX_CACHED_PIECES:
            self._kept -= len(self._pieces.popleft().data)
        self._first = self._pieces[0].start

    async def follow(
        self, at: Position, *, until: float, patience: float, with_log: bool
    ) -> AsyncGenerator[Change | LogPiece | StreamSignal, None]:
        """What is new after `at`, then what comes, each once.

        A change is the build as it is by then: of several in between, the last one. The one that
        ends the build comes after the last byte of its log. `QUIET` comes after each `patience`
        seconds without anything; the last word is `COMPLETE`, `GONE` or `EXPIRED` (the time
        `until`, in seconds since 1970), and none when this process is told to end. An outage of
        the store makes followers wait.
        """
        version, offset = at.version, at.offset
        with self._listening(until=until, patience=patience) as subscriber:
            while True:
                subscriber.clear()
                change, end = self._change, self._end or 0
                new = change if change and change.version > version else None
                if new and not new.final:
                    version = new.version
                    yield new
                while with_log and offset < end and not subscriber.expired:
                    piece = self._kept_piece(offset) or await self._stored_piece(offset, end)
                    if piece is None:
                        await asyncio.sleep(OUTAGE_POLL_INTERVAL)
                        break
                    offset = piece.end
                    yield piece
                last = self._last_word(change, offset if with_log else None, subscriber)
                if last is StreamSignal.COMPLETE and new:
                    yield new
                if last:
                    yield last
                if last or self._over:
                    return
                behind = with_log and offset < end
                if not behind and not await subscriber.wait() and not subscriber.expired:
                    yield StreamSignal.QUIET

    def _last_word(
        self, change: Change | None, offset: int | None, subscriber: Subscriber
    ) -> StreamSignal | None:
        """What ends a follower who is at `offset` of the log, or does not read it."""
        if subscriber.expired:
            return StreamSignal.EXPIRED
        if self._gone:
            return StreamSignal.GONE
        if change and change.final:
            length = change.build.log.length
            return StreamSignal.COMPLETE if offset is None or offset >= length else None
        return None

    async def _stored_piece(self, offset: int, end: int) -> LogPiece | None:
        """Some of the log from `offset` on; None when it is not to be had now."""
        try:
            data = await self._store.logs.read(self._id, offset, min(end, offset + CHUNK_BYTES))
        except StoreUnavailable:
            return None
        return LogPiece(offset, data) if data else None

    def _kept_piece(self, offset: int) -> LogPiece | None:
        for piece in reversed(self._pieces):
            if piece.start == offset:
                return piece
            if piece.start < offset < piece.end:
                return LogPiece(offset, piece.data[offset - piece.start :])
        return None
