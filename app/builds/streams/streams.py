"""`BuildStreams` holds this process' streams: one for each build or owner with subscribers."""

from collections.abc import AsyncGenerator
from weakref import WeakValueDictionary

from app.builds.pubsub import PubSub
from app.builds.store import BuildStore
from app.builds.streams.build import BuildStream, LogPiece, Position
from app.builds.streams.owner import OwnerStream
from app.builds.streams.stream import Change, StreamSignal


class BuildStreams:
    """`BuildStreams` finds or makes the stream that a request is for.

    The caller has checked that the user may see the build. `until` is the time, in seconds since
    1970, at which the user's token expires.
    """

    def __init__(self, store: BuildStore, pubsub: PubSub) -> None:
        self._store = store
        self._pubsub = pubsub
        # Subscribers hold the only references to their stream.
        self._builds: WeakValueDictionary[str, BuildStream] = WeakValueDictionary()
        self._owners: WeakValueDictionary[str, OwnerStream] = WeakValueDictionary()

    def build(
        self, build_id: str, at: Position, *, until: float, quiet_interval: float, with_log: bool
    ) -> AsyncGenerator[Change | LogPiece | StreamSignal, None]:
        """Follow a build from `at` on: see `BuildStream.follow`."""
        stream = self._builds.get(build_id)
        if stream is None:
            stream = BuildStream(build_id, self._store, self._pubsub)
            self._builds[build_id] = stream
        return stream.follow(at, until=until, quiet_interval=quiet_interval, with_log=with_log)

    def owner(
        self, owner: str, version: int, *, until: float, quiet_interval: float
    ) -> AsyncGenerator[Change | StreamSignal, None]:
        """Follow an owner's builds after `version`: see `OwnerStream.follow`."""
        stream = self._owners.get(owner)
        if stream is None:
            stream = OwnerStream(owner, self._store, self._pubsub)
            self._owners[owner] = stream
        return stream.follow(version, until=until, quiet_interval=quiet_interval)

    async def latest(self, owner: str) -> int:
        """Return the version of the last change of an owner's builds. Raises `StoreUnavailable`."""
        return await self._store.streams.latest(owner)
