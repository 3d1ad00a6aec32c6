"""What every feed does: look when there is news, and tell all who follow.

A feed waits for none of its followers: each goes at its own pace, and finds what it missed in the
feed's memory or in the store.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from app.builds.changes import Bell
from app.builds.errors import NotFound, StoreUnavailable
from app.builds.feeds.listener import Listener
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
        self._listeners: set[Listener] = set()
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
        for listener in self._listeners:
            listener.tell()

    @property
    def closed(self) -> bool:
        """Whether nothing comes any more: a new follower needs a new feed."""
        return self._closed

    @property
    def _over(self) -> bool:
        return self._closed or self._stopping()

    @contextmanager
    def _listening(self, *, until: float, patience: float) -> Iterator[Listener]:
        with Listener(until=until, patience=patience) as listener:
            self._listeners.add(listener)
            try:
                yield listener
            finally:
                self._listeners.discard(listener)
