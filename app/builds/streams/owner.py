"""All builds of one user, for all who follow them: which of them changed."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from typing import Final

from app.builds.errors import NotFound, StoreUnavailable
from app.builds.pubsub import PubSub
from app.builds.store import BuildStore
from app.builds.streams.stream import OUTAGE_POLL_INTERVAL, Change, Stream, StreamSignal

#: Changes that are kept for followers who keep up, and that are read at a time.
_MAX_CACHED_CHANGES: Final = 64
_PAGE_SIZE: Final = 32


class OwnerStream(Stream):
    def __init__(self, owner: str, store: BuildStore, pubsub: PubSub) -> None:
        super().__init__(owner, pubsub)
        self._owner = owner
        self._store = store
        self._changes: deque[Change] = deque()
        #: Every change after `_first` and up to `_last` is kept; None before the first look.
        self._first: int | None = None
        self._last = 0

    async def _look(self) -> bool:
        if self._first is None:
            self._first = self._last = await self._store.streams.latest(self._owner)
        before, more = self._last, True
        while more:
            page = await self._store.streams.after(self._owner, self._last, _PAGE_SIZE)
            for version, build_id in page:
                change = await self._change(version, build_id)
                if change:
                    self._keep(change)
                self._last = version
            more = len(page) == _PAGE_SIZE
        return self._last != before

    def _keep(self, change: Change) -> None:
        self._changes.append(change)
        if len(self._changes) > _MAX_CACHED_CHANGES:
            self._first = self._changes.popleft().version

    async def _change(self, version: int, found: Change | str) -> Change | None:
        """The build that was found as of `version`, if need be by its id; None when it has changed
        since, as it will come again."""
        if isinstance(found, Change):
            return found
        try:
            build = await self._store.records.get(found)
        except NotFound:
            return None
        return Change(version, build.view) if build.version == version else None

    async def follow(
        self, version: int, *, until: float, patience: float
    ) -> AsyncGenerator[Change | StreamSignal, None]:
        """The builds that changed after `version`, then those that do, each change once.

        Of several changes of a build that a follower missed, the last one comes. `QUIET` comes
        after each `patience` seconds without anything, and `EXPIRED` is the last word at the time
        `until` (seconds since 1970); there is none when this process is told to end.
        """
        with self._listening(until=until, patience=patience) as subscriber:
            while True:
                subscriber.clear()
                try:
                    missed = await self._after(version)
                    for seen, found in missed:
                        change = await self._change(seen, found)
                        version = seen
                        if change and not subscriber.expired:
                            yield change
                except StoreUnavailable:
                    await asyncio.sleep(OUTAGE_POLL_INTERVAL)
                    continue
                if subscriber.expired:
                    yield StreamSignal.EXPIRED
                    return
                if self._over:
                    return
                if not missed and not await subscriber.wait() and not subscriber.expired:
                    yield StreamSignal.QUIET

    async def _after(self, version: int) -> Sequence[tuple[int, Change | str]]:
        """Some of what came after `version`: changes where they are kept, else ids of builds.
        Raises `StoreUnavailable`."""
        if self._first is not None and version >= self._first:
            return [(kept.version, kept) for kept in self._changes if kept.version > version]
        return await self._store.streams.after(self._owner, version, _PAGE_SIZE)
