"""The feeds of this process: one for each build, and each owner, that somebody follows."""

from collections.abc import AsyncGenerator
from weakref import WeakValueDictionary

from app.builds.pubsub import Changes
from app.builds.store import BuildStore
from app.builds.store.stream_reader import ChangeReader
from app.builds.streams.build import BuildFeed, LogPiece, Position
from app.builds.streams.owner import OwnerFeed
from app.builds.streams.stream import Change, Sign


class Feeds:
    """`until` is the time, in seconds since 1970, for which a follower may listen: that of the
    token that let it in. Whether it may hear of the build, or the owner, is the caller's to know.
    """

    def __init__(self, store: BuildStore, reader: ChangeReader, changes: Changes) -> None:
        self._store = store
        self._reader = reader
        self._changes = changes
        # Those who follow keep a feed.
        self._builds: WeakValueDictionary[str, BuildFeed] = WeakValueDictionary()
        self._owners: WeakValueDictionary[str, OwnerFeed] = WeakValueDictionary()

    def build(
        self, build_id: str, at: Position, *, until: float, patience: float, with_log: bool
    ) -> AsyncGenerator[Change | LogPiece | Sign, None]:
        """A build from `at` on: see `BuildFeed.follow`."""
        feed = self._builds.get(build_id)
        if feed is None:
            feed = BuildFeed(build_id, self._store, self._reader, self._changes)
            self._builds[build_id] = feed
        return feed.follow(at, until=until, patience=patience, with_log=with_log)

    def owner(
        self, owner: str, version: int, *, until: float, patience: float
    ) -> AsyncGenerator[Change | Sign, None]:
        """The changes of an owner's builds after `version`: see `OwnerFeed.follow`."""
        feed = self._owners.get(owner)
        if feed is None:
            feed = OwnerFeed(owner, self._store, self._reader, self._changes)
            self._owners[owner] = feed
        return feed.follow(version, until=until, patience=patience)

    async def latest(self, owner: str) -> int:
        """The version of the last change of an owner's builds. Raises `StoreUnavailable`."""
        return await self._reader.latest(owner)
