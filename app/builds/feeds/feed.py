"""What every feed does: look when there is news, and tell all who follow.

A feed holds no list of its followers and waits for none of them: each goes at its own pace, and
finds what it missed in the feed's memory or in the store.
"""

import asyncio
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from app.builds.changes import Bell
from app.builds.errors import NotFound, StoreUnavailable
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


class Sign(Enum):
    """What a follower hears besides news."""

    QUIET = auto()  #: nothing for a while
    COMPLETE = auto()  #: the last word: the build has ended, and all of it was told
    GONE = auto()  #: the last word: the build was deleted
    EXPIRED = auto()  #: the last word: the time for which this follower may listen is over


class Feed(ABC):
    def __init__(self, stopping: Callable[[], bool]) -> None:
        """`stopping`: whether this process is about to end, and all who follow shall go."""
        self._stopping = stopping
        self._news = asyncio.Event()
        self._gone = False
        self._closed = False
        self._bell: Bell | None = None

    async def run(self, bell: Bell) -> None:
        """Look whenever `bell` rings, until `close`."""
        self._bell = bell
        try:
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
                if self._stopping():
                    break
                await bell.wait(_IDLE)
        except NotFound:
            self._gone = True
        except Exception:
            # A door: whoever follows is let go, and comes back.
            log.exception("a feed failed")
        finally:
            self._closed = True
            self._tell()

    def close(self) -> None:
        """Nobody follows any more. Not a cancel, which Python 3.11's `wait_for`, in Redis' client,
        may swallow."""
        self._closed = True
        if self._bell:
            self._bell.ring()

    @abstractmethod
    async def _look(self) -> bool:
        """Learn what is new; False when nothing is. Raises `StoreUnavailable`, `NotFound`."""

    def _tell(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    @property
    def closed(self) -> bool:
        """Whether nothing comes any more: a new follower needs a new feed."""
        return self._closed

    @property
    def _over(self) -> bool:
        return self._closed or self._stopping()

    async def _quiet(self, news: asyncio.Event, until: float, patience: float) -> bool:
        """Wait for news; True when there were none for `patience` seconds."""
        try:
            async with asyncio.timeout(max(0.0, min(patience, left(until)))):
                await news.wait()
        except TimeoutError:
            return left(until) > 0
        return False


def left(until: float) -> float:
    """Seconds until a time since 1970."""
    return until - time.time()
