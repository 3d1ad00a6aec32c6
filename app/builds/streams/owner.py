"""The stream of one owner delivers the changes of all of this user's builds."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from typing import Final

from app.builds.errors import NotFound, StoreUnavailable
from app.builds.pubsub import PubSub
from app.builds.store import BuildStore
from app.builds.streams.stream import OUTAGE_POLL_INTERVAL, Change, Stream, StreamSignal

#: Changes that are cached for subscribers who keep up, and changes that are read at a time.
_MAX_CACHED_CHANGES: Final = 64
_PAGE_SIZE: Final = 32


class OwnerStream(Stream):
    """An `OwnerStream` caches the last changes."""

    def __init__(self, owner: str, store: BuildStore, pubsub: PubSub) -> None:
        super().__init__(owner, pubsub)
        self._owner = owner
        self._store = store
        self._changes: deque[Change] = deque()
        #: Every change after `_first` and up to `_last` is cached; None before the first refresh.
        self._first: int | None = None
        self._last = 0

    async def _refresh(self) -> bool:
        if self._first is None:
            self._first = self._last = await self._store.streams.latest(self._owner)
        before, more = self._last, True
        while more:
            page = await self._store.streams.after(self._owner, self._last, _PAGE_SIZE)
            for version, build_id in page:
                change = await self._change(version, build_id)
                if change:
                    self._cache(change)
                self._last = version
            more = len(page) == _PAGE_SIZE
        return self._last != before

    def _cache(self, change: Change) -> None:
        self._changes.append(change)
        if len(self._changes) > _MAX_CACHED_CHANGES:
            self._first = self._changes.popleft().version

    async def _change(self, version: int, found: Change | str) -> Change | None:
        """Return the build as of `version`, read by its id unless it was `found` in the cache.

        None when it has changed since: then the later change follows.
        """
        if isinstance(found, Change):
            return found
        try:
            build = await self._store.records.get(found)
        except NotFound:
            return None
        return Change(version, build.view) if build.version == version else None

    async def follow(
        self, version: int, *, until: float, quiet_interval: float
    ) -> AsyncGenerator[Change | StreamSignal, None]:
        """Yield the builds that changed after `version`, then those that do, each change once.

        Of several changes of a build that a subscriber missed, only the last comes. `QUIET` comes
        after each `quiet_interval` seconds without anything. `EXPIRED` is the last item, at the
        time `until` (seconds since 1970); there is none when this process shuts down.
        """
        with self._subscribe(until=until, quiet_interval=quiet_interval) as subscriber:
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
                if self._stopped:
                    return
                if not missed and not await subscriber.wait() and not subscriber.expired:
                    yield StreamSignal.QUIET

    async def _after(self, version: int) -> Sequence[tuple[int, Change | str]]:
        """Return some of the changes after `version`: from the cache, or else as ids of builds.

        Raises `StoreUnavailable`.
        """
        if self._first is not None and version >= self._first:
            return [(kept.version, kept) for kept in self._changes if kept.version > version]
        return await self._store.streams.after(self._owner, version, _PAGE_SIZE)
