"""A stream reads the store when something changed, and notifies all of its subscribers.

A stream waits for none of its subscribers: each goes at its own pace, and finds what it missed in
the stream's cache or in the store.
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

#: Seconds between polls without a wake-up: publications are hints, and may be lost.
_POLL_INTERVAL: Final = 5.0
#: Seconds between polls while the store is away.
OUTAGE_POLL_INTERVAL: Final = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """A build as it has been since `version`; compared by identity, as all subscribers get the same
    object."""

    version: int
    build: BuildView

    @property
    def final(self) -> bool:
        return self.build.status.final


class StreamSignal(Enum):
    """A signal tells a subscriber what no change or log piece can."""

    QUIET = auto()  #: nothing has come for a while
    COMPLETE = auto()  #: the last item: the build has ended, and all of it was delivered
    DELETED = auto()  #: the last item: the build was deleted
    EXPIRED = auto()  #: the last item: the subscriber's token has expired


class Stream(ABC):
    """A stream runs, in a task of its own, while it has subscribers."""

    def __init__(self, topic: str, pubsub: PubSub) -> None:
        self._topic = topic
        self._pubsub = pubsub
        self._subscribers: set[Subscriber] = set()
        self._deleted = False
        self._closed = True
        self._wake_up: WakeUp | None = None
        self._task: asyncio.Task[None] | None = None

    async def _run(self) -> None:
        """Refresh whenever something may have changed, until the last subscriber leaves."""
        try:
            with self._pubsub.subscribe(self._topic) as self._wake_up:
                await self._refresh_loop(self._wake_up)
        except NotFound:
            self._deleted = True
        except Exception:
            # Error boundary: the subscribers' responses end, and their clients connect again.
            log.exception("a stream failed")
        finally:
            self._task = None
            self._closed = True
            self._notify()

    async def _refresh_loop(self, wake_up: WakeUp) -> None:
        behind = False
        while not self._closed:
            try:
                if await self._refresh() or behind:
                    self._notify()
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
    async def _refresh(self) -> bool:
        """Read what is new into the cache; return False when nothing is. Raises `StoreUnavailable`,
        `NotFound`."""

    def _notify(self) -> None:
        now = asyncio.get_running_loop().time()
        for subscriber in self._subscribers:
            subscriber.notify(now)

    @property
    def _stopped(self) -> bool:
        return self._closed or self._pubsub.stopping

    @contextmanager
    def _subscribe(self, *, until: float, quiet_interval: float) -> Iterator[Subscriber]:
        with Subscriber(until=until, quiet_interval=quiet_interval) as subscriber:
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
        """Let `_run` end, as the last subscriber has left.

        No cancel: in Redis' client, Python 3.11's `wait_for` may swallow it.
        """
        self._closed = True
        if self._wake_up:
            self._wake_up.set()
