"""Spans around what dispatch does outside of this process: getting a token, sending a message."""

from app.builds.dispatch import Mint
from app.builds.errors import MintFailed
from app.builds.model import Ticket, Timers
from app.builds.queue import BuildQueue
from app.contract import queue as wire
from app.observability import tracing
from app.observability.tracing import Kind, Tracing


def traced_mint(mint: Mint, traces: Tracing, *, provider: str) -> Mint:
    """The same, in spans; `provider` is the kind of minter that the tokens come from."""

    async def traced(*, user_id: str, build_id: str, lifetime: float) -> Ticket:
        attributes = {tracing.BUILD: build_id, "baton.mint.provider": provider}
        with traces.span("mint", attributes=attributes) as span:
            try:
                return await mint(user_id=user_id, build_id=build_id, lifetime=lifetime)
            except MintFailed as error:
                span.set_attribute(tracing.REASON, error.reason)
                raise

    return traced


class TracedQueue:
    """The same queue, in spans, which the workers' come below."""

    def __init__(self, queue: BuildQueue, traces: Tracing) -> None:
        self._queue = queue
        self._traces = traces

    async def send(self, build_id: str, token: str, timers: Timers) -> None:
        attributes = {
            tracing.BUILD: build_id,
            "messaging.system": "celery",
            "messaging.destination.name": wire.QUEUE,
            "messaging.operation.type": "send",
        }
        with self._traces.span("send", kind=Kind.PRODUCER, attributes=attributes):
            await self._queue.send(build_id, token, timers)

    async def ping(self) -> None:
        await self._queue.ping()

    async def close(self) -> None:
        await self._queue.close()
