"""What every stream does: look when there is news, and tell all who follow.

A stream waits for none of its followers: each goes at its own pace, and finds what it missed in the
stream's memory or in the store.
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
from app.builds.pubsub import PubSub, WakeUp
from app.builds.streams.subscriber import Subscriber
from app.contract.builds import BuildView

log = logging.getLogger(__name__)

#: Seconds between looks when nothing is heard: news are hints, and may be lost.
_POLL_INTERVAL: Final = 5.0
#: Seconds between looks while the store is away.
OUTAGE_POLL_INTERVAL: Final = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """A build as it has been since a version. Compared by identity: the same for all followers."""

    version: int
    build: BuildView

    @property
    def final(self) -> bool:
        return self.build.status.final


class StreamSignal(Enum):
    """What a follower hears besides news."""

    QUIET = auto()  #: nothing for a while
    COMPLETE = auto()  #: the last word: the build has ended, and all of it was told
    GONE = auto()  #: the last word: the build was deleted
    EXPIRED = auto()  #: the last word: the time for which this follower may listen is over


class Stream(ABC):
    """Runs while somebody follows."""

    def __init__(self, topic: str, pubsub: PubSub) -> None:
        self._topic = topic
        self._pubsub = pubsub
        self._subscribers: set[Subscriber] = set()
        self._gone = False
        self._closed = True
        self._wake_up: WakeUp | None = None
        self._task: asyncio.Task[None] | None = None

    async def _run(self) -> None:
        """Look whenever there may be news, until nobody follows."""
        try:
            with self._pubsub.subscribe(self._topic) as self._wake_up:
                await self._look_and_tell(self._wake_up)
        except NotFound:
            self._gone = True
        except Exception:
            # Error boundary: whoever follows is let go, and comes back.
            log.exception("a stream failed")
        finally:
            self._task = None
            self._closed = True
            self._tell()

    async def _look_and_tell(self, wake_up: WakeUp) -> None:
        behind = False
        while not self._closed:
            try:
                if await self._look() or behind:
                    self._tell()
                behind = False
            except StoreUnavailable as error:
                log.warning("followers wait: %s", error)
                behind = True
                await wake_up.wait(OUTAGE_POLL_INTERVAL)
                continue
            if self._pubsub.stopping:
                break
            await wake_up.wait(_POLL_INTERVAL)

    @abstractmethod
    async def _look(self) -> bool:
        """Learn what is new; False when nothing is. Raises `StoreUnavailable`, `NotFound`."""

    def _tell(self) -> None:
        now = asyncio.get_running_loop().time()
        for subscriber in self._subscribers:
            subscriber.tell(now)

    @property
    def _over(self) -> bool:
        return self._closed or self._pubsub.stopping

    @contextmanager
    def _listening(self, *, until: float, patience: float) -> Iterator[Subscriber]:
        with Subscriber(until=until, patience=patience) as subscriber:
            self._subscribers.add(subscriber)
            self._closed = False
            if self._task is None:
                self._task = asyncio.create_task(self._run(), name=f"stream of {self._topic}")
            try:
                yield subscriber
            finally:
                self._subscribers.discard(subscriber)
                if not self._subscribers:
                    self._close()

    def _close(self) -> None:
        """Nobody follows any more. Not a cancel, which Python 3.11's `wait_for`, in Redis' client,
        may swallow."""
        self._closed = True
        if self._wake_up:
            self._wake_up.set()
