"""The stream of one build delivers its changes, and its log as it grows."""

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

#: Bytes of a log that are read at a time, and the most that a subscriber holds.
CHUNK_BYTES: Final = 64 * 1024
#: Bytes, and pieces, of the log's end that are cached for subscribers who keep up.
_MAX_CACHED_BYTES: Final = 512 * 1024
_MAX_CACHED_PIECES: Final = 256


@dataclass(frozen=True, slots=True, eq=False)
class LogPiece:
    """A piece of a log, compared by identity: all subscribers who keep up get the same object."""

    start: int
    data: bytes
    end: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "end", self.start + len(self.data))


@dataclass(frozen=True, slots=True)
class Position:
    """A position is how much of a build's stream a subscriber has."""

    version: int = 0  #: of the last change
    offset: int = 0  #: bytes of the log


class BuildStream(Stream):
    """A `BuildStream` caches the build's record, and the last bytes of its log."""

    def __init__(self, build_id: str, store: BuildStore, pubsub: PubSub) -> None:
        super().__init__(build_id, pubsub)
        self._id = build_id
        self._store = store
        self._change: Change | None = None
        self._pieces: deque[LogPiece] = deque()
        self._cached_bytes = 0
        #: Where the cached bytes begin, and where the log ends; None before the first refresh.
        self._first = 0
        self._end: int | None = None

    async def _refresh(self) -> bool:
        change, known = self._change, self._end
        seen = await self._store.streams.snapshot(
            self._id, known or 0, CHUNK_BYTES if known is not None else 0
        )
        if change is None or seen.version != change.version:
            build = await self._store.records.get(self._id)
            self._change = Change(build.version, build.view)
        if known is None or seen.length - known > _MAX_CACHED_BYTES:
            self._drop_cache(seen.length)
        elif seen.length > known:
            self._cache(LogPiece(known, seen.data))
            while known + len(seen.data) < seen.length:  # a burst
                known += len(seen.data)
                seen = await self._store.streams.snapshot(self._id, known, CHUNK_BYTES)
                self._cache(LogPiece(known, seen.data))
        elif seen.length < known:  # Redis lost its last writes; the worker sends them again
            self._drop_cache(seen.length)
        return self._change is not change or self._end != known

    def _drop_cache(self, end: int) -> None:
        self._pieces.clear()
        self._cached_bytes = 0
        self._first = self._end = end

    def _cache(self, piece: LogPiece) -> None:
        self._pieces.append(piece)
        self._cached_bytes += len(piece.data)
        self._end = piece.end
        while self._cached_bytes > _MAX_CACHED_BYTES or len(self._pieces) > _MAX_CACHED_PIECES:
            self._cached_bytes -= len(self._pieces.popleft().data)
        self._first = self._pieces[0].start

    async def follow(
        self, at: Position, *, until: float, quiet_interval: float, with_log: bool
    ) -> AsyncGenerator[Change | LogPiece | StreamSignal, None]:
        """Yield what is new after `at`, then what comes, each once.

        A change is the build as it is by then: of several changes in between, only the last comes.
        The change that ends the build comes after the last byte of its log. `QUIET` comes after
        each `quiet_interval` seconds without anything. The last item is `COMPLETE`, `DELETED`, or
        `EXPIRED` at the time `until` (seconds since 1970); there is none when this process shuts
        down. During an outage of the store, subscribers wait.
        """
        version, offset = at.version, at.offset
        with self._subscribe(until=until, quiet_interval=quiet_interval) as subscriber:
            while True:
                subscriber.clear()
                change, end = self._change, self._end or 0
                new = change if change and change.version > version else None
                if new and not new.final:
                    version = new.version
                    yield new
                while with_log and offset < end and not subscriber.expired:
                    piece = self._cached_piece(offset) or await self._stored_piece(offset, end)
                    if piece is None:
                        await asyncio.sleep(OUTAGE_POLL_INTERVAL)
                        break
                    offset = piece.end
                    yield piece
                end_signal = self._end_signal(change, offset if with_log else None, subscriber)
                if end_signal is StreamSignal.COMPLETE and new:
                    yield new
                if end_signal:
                    yield end_signal
                if end_signal or self._stopped:
                    return
                behind = with_log and offset < end
                if not behind and not await subscriber.wait() and not subscriber.expired:
                    yield StreamSignal.QUIET

    def _end_signal(
        self, change: Change | None, offset: int | None, subscriber: Subscriber
    ) -> StreamSignal | None:
        """Return the signal that ends a subscriber at `offset` of the log; None as an offset:
        without log."""
        if subscriber.expired:
            return StreamSignal.EXPIRED
        if self._deleted:
            return StreamSignal.DELETED
        if change and change.final:
            length = change.build.log.length
            return StreamSignal.COMPLETE if offset is None or offset >= length else None
        return None

    async def _stored_piece(self, offset: int, end: int) -> LogPiece | None:
        """Return some of the log from `offset` on; None while the store cannot give it."""
        try:
            data = await self._store.logs.read(self._id, offset, min(end, offset + CHUNK_BYTES))
        except StoreUnavailable:
            return None
        return LogPiece(offset, data) if data else None

    def _cached_piece(self, offset: int) -> LogPiece | None:
        for piece in reversed(self._pieces):
            if piece.start == offset:
                return piece
            if piece.start < offset < piece.end:
                return LogPiece(offset, piece.data[offset - piece.start :])
        return None
