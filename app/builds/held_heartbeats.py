"""Held heartbeats are requests of workers, answered as soon as there is an order for them."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from app.builds.model import Credential
from app.builds.pubsub import PubSub, WakeUp, record
from app.builds.service import BuildService
from app.contract.runs import HEARTBEATS, Directive

#: Seconds for which a heartbeat is held at most: well below the minute in which proxies time out.
_MAX_HOLD: Final = 20


class HeldHeartbeats:
    """`HeldHeartbeats` makes the heartbeats that this process holds.

    Each costs a subscription in this process, and nothing in the store.
    """

    def __init__(self, service: BuildService, pubsub: PubSub, *, lease: float) -> None:
        self._service = service
        self._pubsub = pubsub
        self._max_hold = min(_MAX_HOLD, int(lease / HEARTBEATS))

    def hold_time(self, requested: int) -> int:
        """Return for how many of the `requested` seconds a heartbeat is held.

        The next heartbeat must arrive before the lease ends.
        """
        return min(requested, self._max_hold)

    @contextmanager
    def listen(
        self, build_id: str, credential: Credential, lease_id: str
    ) -> Iterator["HeldHeartbeat"]:
        """Subscribe to a build's record until the context ends.

        Only changes from now on wake the heartbeat: the caller reads first what there is already.
        """
        with self._pubsub.subscribe(record(build_id, credential.user_id)) as wake_up:
            yield HeldHeartbeat(
                self._service, self._pubsub, wake_up, build_id, credential, lease_id
            )


@dataclass(frozen=True, slots=True)
class HeldHeartbeat:
    """A heartbeat that is held waits for an order to its worker."""

    service: BuildService
    pubsub: PubSub
    wake_up: WakeUp
    build_id: str
    credential: Credential
    lease_id: str

    async def order(
        self, seconds: float, disconnected: Callable[[], Awaitable[None]]
    ) -> Directive | None:
        """Return the next order, or None after `seconds`.

        None comes early when this process shuts down, or when `disconnected` returns, which it does
        once the worker has closed its connection. Raises the refusals of `BuildService.renew` as
        soon as they apply.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        disconnect_watch = asyncio.create_task(self._wake_when(disconnected))
        try:
            while not self.pubsub.stopping and await self.wake_up.wait(end - loop.time()):
                if self.pubsub.stopping or disconnect_watch.done():
                    return None
                directive = await self.service.directive(
                    self.build_id, self.credential, self.lease_id
                )
                if directive.cancel:
                    return directive
        finally:
            disconnect_watch.cancel()
        return None

    async def _wake_when(self, disconnected: Callable[[], Awaitable[None]]) -> None:
        await disconnected()
        self.wake_up.set()
