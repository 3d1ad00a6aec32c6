"""The feeds of this process: one for each build, and each owner, that somebody follows."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from app.builds.changes import Changes
from app.builds.feeds.build import BuildFeed, LogPiece, Position
from app.builds.feeds.feed import Change, Feed, Sign
from app.builds.feeds.owner import OwnerFeed
from app.builds.store import BuildStore
from app.builds.store.changes import ChangeReader

F = TypeVar("F", bound=Feed)

#: Seconds after which one who hears nothing may be told so; of a log's bytes, nobody is.
_IDLE: Final = 3600.0


class Feeds:
    """`until` is the time, in seconds since 1970, for which a follower may listen: that of the
    token that let it in. Whether it may hear of the build, or the owner, is the caller's to know.
    """

    def __init__(self, store: BuildStore, reader: ChangeReader, changes: Changes) -> None:
        def stopping() -> bool:
            return changes.stopping

        self._reader = reader
        self._builds = _Shared(changes, lambda id_: BuildFeed(id_, store, reader, stopping))
        self._owners = _Shared(changes, lambda owner: OwnerFeed(owner, store, reader, stopping))

    async def build(
        self, build_id: str, at: Position, *, until: float, patience: float, with_log: bool
    ) -> AsyncGenerator[Change | LogPiece | Sign, None]:
        """A build from `at` on: see `BuildFeed.follow`."""
        with self._builds.follow(build_id) as feed:
            following = feed.follow(at, until=until, patience=patience, with_log=with_log)
            async with aclosing(following):
                async for news in following:
                    yield news

    async def log(self, build_id: str, start: int, *, until: float) -> AsyncGenerator[bytes, None]:
        """The bytes of a log from `start` on as they come, until the build ends."""
        at = Position(offset=start)
        following = self.build(build_id, at, until=until, patience=_IDLE, with_log=True)
        async with aclosing(following):
            async for news in following:
                if isinstance(news, LogPiece):
                    yield news.data

    async def owner(
        self, owner: str, version: int, *, until: float, patience: float
    ) -> AsyncGenerator[Change | Sign, None]:
        """The changes of an owner's builds after `version`: see `OwnerFeed.follow`."""
        with self._owners.follow(owner) as feed:
            following = feed.follow(version, until=until, patience=patience)
            async with aclosing(following):
                async for news in following:
                    yield news

    async def latest(self, owner: str) -> int:
        """The version of the last change of an owner's builds. Raises `StoreUnavailable`."""
        return await self._reader.latest(owner)


@dataclass(kw_only=True, slots=True)
class _Running(Generic[F]):
    feed: F
    task: asyncio.Task[None]
    followers: int = 0


class _Shared(Generic[F]):
    """Feeds by what they are about; each runs while it has followers."""

    def __init__(self, changes: Changes, make: Callable[[str], F]) -> None:
        self._changes = changes
        self._make = make
        self._running: dict[str, _Running[F]] = {}

    @contextmanager
    def follow(self, topic: str) -> Iterator[F]:
        running = self._running.get(topic)
        if running is None or running.feed.closed:
            feed = self._make(topic)
            task = asyncio.create_task(self._run(topic, feed), name=f"feed of {topic}")
            running = self._running[topic] = _Running(feed=feed, task=task)
        running.followers += 1
        try:
            yield running.feed
        finally:
            running.followers -= 1
            if running.followers == 0:
                running.feed.close()
                if self._running.get(topic) is running:
                    del self._running[topic]

    async def _run(self, topic: str, feed: F) -> None:
        with self._changes.watch(topic) as bell:
            await feed.run(bell)
