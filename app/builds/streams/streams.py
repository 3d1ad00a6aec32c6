"""The streams of this process: one for each build, and each owner, that somebody follows."""

from collections.abc import AsyncGenerator
from weakref import WeakValueDictionary

from app.builds.pubsub import PubSub
from app.builds.store import BuildStore
from app.builds.streams.build import BuildStream, LogPiece, Position
from app.builds.streams.owner import OwnerStream
from app.builds.streams.stream import Change, StreamSignal


class BuildStreams:
    """`until` is the time, in seconds since 1970, for which a follower may listen: that of the
    token that let it in. Whether it may hear of the build, or the owner, is the caller's to know.
    """

    def __init__(self, store: BuildStore, pubsub: PubSub) -> None:
        self._store = store
        self._pubsub = pubsub
        # Those who follow keep a stream.
        self._builds: WeakValueDictionary[str, BuildStream] = WeakValueDictionary()
        self._owners: WeakValueDictionary[str, OwnerStream] = WeakValueDictionary()

    def build(
        self, build_id: str, at: Position, *, until: float, patience: float, with_log: bool
    ) -> AsyncGenerator[Change | LogPiece | StreamSignal, None]:
        """A build from `at` on: see `BuildStream.follow`."""
        stream = self._builds.get(build_id)
        if stream is None:
            stream = BuildStream(build_id, self._store, self._pubsub)
            self._builds[build_id] = stream
        return stream.follow(at, until=until, patience=patience, with_log=with_log)

    def owner(
        self, owner: str, version: int, *, until: float, patience: float
    ) -> AsyncGenerator[Change | StreamSignal, None]:
        """The changes of an owner's builds after `version`: see `OwnerStream.follow`."""
        stream = self._owners.get(owner)
        if stream is None:
            stream = OwnerStream(owner, self._store, self._pubsub)
            self._owners[owner] = stream
        return stream.follow(version, until=until, patience=patience)

    async def latest(self, owner: str) -> int:
        """The version of the last change of an owner's builds. Raises `StoreUnavailable`."""
        return await self._store.streams.latest(owner)
