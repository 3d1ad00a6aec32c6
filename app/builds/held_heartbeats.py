"""Held heartbeats: each is answered when there is something to say."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from app.builds.model import Credential
from app.builds.pubsub import PubSub, WakeUp, record
from app.builds.service import BuildService
from app.contract.runs import HEARTBEATS, Directive

#: Seconds for which a heartbeat is held at most: well below the minute after which proxies give up.
_MAX_HOLD: Final = 20


class HeldHeartbeats:
    """What this process' held heartbeats listen to; each costs one WakeUp, none in the store."""

    def __init__(self, service: BuildService, pubsub: PubSub, *, lease: float) -> None:
        self._service = service
        self._pubsub = pubsub
        self._longest = min(_MAX_HOLD, int(lease / HEARTBEATS))

    def patience(self, wanted: int) -> int:
        """For how many of the seconds that a worker would wait its heartbeat is held: the next one
        must be in time to keep the lease."""
        return min(wanted, self._longest)

    @contextmanager
    def listen(
        self, build_id: str, credential: Credential, lease_id: str
    ) -> Iterator["HeldHeartbeat"]:
        """Hear what comes from now on; what there is already is the caller's to ask for."""
        with self._pubsub.subscribe(record(build_id, credential.user_id)) as wake_up:
            yield HeldHeartbeat(
                self._service, self._pubsub, wake_up, build_id, credential, lease_id
            )


@dataclass(frozen=True, slots=True)
class HeldHeartbeat:
    service: BuildService
    pubsub: PubSub
    wake_up: WakeUp
    build_id: str
    credential: Credential
    lease_id: str

    async def order(self, seconds: float, gone: Callable[[], Awaitable[None]]) -> Directive | None:
        """The next order; None after `seconds`, when this process is told to end, or as soon as
        `gone` returns, which is when nobody is there to hear it.

        Raises the refusals of `BuildService.renew` as soon as they are true.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        leaving = asyncio.create_task(self._wake_when(gone))
        try:
            while not self.pubsub.stopping and await self.wake_up.wait(end - loop.time()):
                if self.pubsub.stopping or leaving.done():
                    return None
                directive = await self.service.directive(
                    self.build_id, self.credential, self.lease_id
                )
                if directive.cancel:
                    return directive
        finally:
            leaving.cancel()
        return None

    async def _wake_when(self, gone: Callable[[], Awaitable[None]]) -> None:
        await gone()
        self.wake_up.set()
