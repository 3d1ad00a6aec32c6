"""What every feed does: look when there is news, and tell all who follow.

A feed waits for none of its followers: each goes at its own pace, and finds what it missed in the
feed's memory or in the store.
"""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from app.builds.errors import NotFound, StoreUnavailable
from app.builds.pubsub import Bell, Changes
from app.builds.streams.subscriber import Listener
from app.contract.builds import BuildView

log = logging.getLogger(__name__)

#: Seconds between looks when nothing rings: news are hints, and may be lost.
_IDLE: Final = 5.0
#: Seconds between looks while the store is away.
OUTAGE: Final = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """A build as it has been since a version. Compared by identity: the same for all followers."""

    version: int
    build: BuildView

    @property
    def final(self) -> bool:
        return self.build.status.final


class Sign(Enum):
    """What a follower hears besides news."""

    QUIET = auto()  #: nothing for a while
    COMPLETE = auto()  #: the last word: the build has ended, and all of it was told
    GONE = auto()  #: the last word: the build was deleted
    EXPIRED = auto()  #: the last word: the time for which this follower may listen is over


class Feed(ABC):
    """Runs while somebody follows."""

    def __init__(self, topic: str, changes: Changes) -> None:
        self._topic = topic
        self._news = changes
        self._listeners: set[Listener] = set()
        self._gone = False
        self._closed = True
        self._bell: Bell | None = None
        self._task: asyncio.Task[None] | None = None

    async def _run(self) -> None:
        """Look whenever there may be news, until nobody follows."""
        try:
            with self._news.watch(self._topic) as self._bell:
                await self._look_and_tell(self._bell)
        except NotFound:
            self._gone = True
        except Exception:
            # A door: whoever follows is let go, and comes back.
            log.exception("a feed failed")
        finally:
            self._task = None
            self._closed = True
            self._tell()

    async def _look_and_tell(self, bell: Bell) -> None:
        behind = False
        while not self._closed:
            try:
                if await self._look() or behind:
                    self._tell()
                behind = False
            except StoreUnavailable as error:
                log.warning("followers wait: %s", error)
                behind = True
                await bell.wait(OUTAGE)
                continue
            if self._news.stopping:
                break
            await bell.wait(_IDLE)

    @abstractmethod
    async def _look(self) -> bool:
        """Learn what is new; False when nothing is. Raises `StoreUnavailable`, `NotFound`."""

    def _tell(self) -> None:
        now = asyncio.get_running_loop().time()
        for listener in self._listeners:
            listener.tell(now)

    @property
    def _over(self) -> bool:
        return self._closed or self._news.stopping

    @contextmanager
    def _listening(self, *, until: float, patience: float) -> Iterator[Listener]:
        with Listener(until=until, patience=patience) as listener:
            self._listeners.add(listener)
            self._closed = False
            if self._task is None:
                self._task = asyncio.create_task(self._run(), name=f"feed of {self._topic}")
            try:
                yield listener
            finally:
                self._listeners.discard(listener)
                if not self._listeners:
                    self._close()

    def _close(self) -> None:
        """Nobody follows any more. Not a cancel, which Python 3.11's `wait_for`, in Redis' client,
        may swallow."""
        self._closed = True
        if self._bell:
            self._bell.ring()
