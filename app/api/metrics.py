"""What Prometheus is told.

Two kinds of numbers. Those of builds come from the store and are everybody's: each replica says the
same, so they are looked at with `max`, not summed. Those of minting and sending are this process'
own, and are summed.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from app.builds.dispatch import Mint
from app.builds.errors import MintFailed, QueueUnavailable, StoreUnavailable
from app.builds.model import Ticket, Timers
from app.builds.queue import BuildQueue
from app.builds.store.counts import CountReader, Counts

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """The numbers of one process, and the way to those of all."""

    def __init__(self, reader: CountReader, *, provider: str) -> None:
        """`provider` is the kind of minter that the tokens come from."""
        self._reader = reader
        self._own = CollectorRegistry()
        self._mint = Histogram(
            "baton_mint_seconds",
            "Time to get a build token, failures included",
            ["provider"],
            buckets=_SECONDS,
            registry=self._own,
        ).labels(provider)
        self._mint_failures = Counter(
            "baton_mint_failures",
            "Tokens that were not to be had",
            ["provider", "reason"],
            registry=self._own,
        )
        self._provider = provider
        self._send = Histogram(
            "baton_send_seconds",
            "Time to hand a message to the broker, failures included",
            buckets=_SECONDS,
            registry=self._own,
        )
        self._send_failures = Counter(
            "baton_send_failures", "Messages that the broker did not confirm", registry=self._own
        )

    def observed_mint(self, mint: Mint) -> Mint:
        """The same, looked at."""

        async def observed(*, user_id: str, build_id: str, lifetime: float) -> Ticket:
            with _timed(self._mint):
                try:
                    return await mint(user_id=user_id, build_id=build_id, lifetime=lifetime)
                except MintFailed as error:
                    self._mint_failures.labels(self._provider, error.reason).inc()
                    raise

        return observed

    def observed_queue(self, queue: BuildQueue) -> BuildQueue:
        """The same, looked at."""
        return _ObservedQueue(queue, self._send, self._send_failures)

    async def text(self) -> bytes:
        """Everything, in Prometheus' text format."""
        shared = CollectorRegistry()
        try:
            counts = await self._reader.read()
        except StoreUnavailable:
            counts = None
        shared.register(_Shared(counts))
        return generate_latest(shared) + generate_latest(self._own)


class _ObservedQueue:
    def __init__(self, queue: BuildQueue, seconds: Histogram, failures: Counter) -> None:
        self._queue = queue
        self._seconds = seconds
        self._failures = failures

    async def send(self, build_id: str, token: str, timers: Timers) -> None:
        with _timed(self._seconds):
            try:
                await self._queue.send(build_id, token, timers)
            except QueueUnavailable:
                self._failures.inc()
                raise

    async def ping(self) -> None:
        await self._queue.ping()

    async def close(self) -> None:
        await self._queue.close()


@contextmanager
def _timed(histogram: Histogram) -> Iterator[None]:
    begun = time.perf_counter()
    try:
        yield
    finally:
        histogram.observe(time.perf_counter() - begun)


class _Shared(Collector):
    """The store's numbers at one moment; None when it could not be asked."""

    def __init__(self, counts: Counts | None) -> None:
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        counts = self._counts
        yield GaugeMetricFamily(
            "baton_store_up", "Whether the store answers", value=float(counts is not None)
        )
        if counts is None:
            return
        yield from _gauges(counts)
        yield from _counters(counts)


def _gauges(counts: Counts) -> Iterator[Metric]:
    for name, words, value in (
        ("baton_builds_queued", "Builds that no worker has begun", counts.queued),
        ("baton_builds_dispatched", "Of these, on their way to a worker", counts.dispatched),
        ("baton_builds_delayed", "Of these, waiting for the next try", counts.delayed),
        ("baton_builds_running", "Builds that run", counts.running),
        ("baton_queue_oldest_seconds", "Wait of the first queued build", counts.oldest_wait),
    ):
        yield GaugeMetricFamily(name, words, value=value)
    if counts.worker_silence is not None:
        yield GaugeMetricFamily(
            "baton_worker_silence_seconds",
            "Time since any worker spoke",
            value=counts.worker_silence,
        )


def _counters(counts: Counts) -> Iterator[Metric]:
    totals = counts.totals
    for name, words in (
        ("submitted", "Builds that were accepted"),
        ("dispatched", "Attempts that were sent to workers"),
        ("lease_lost", "Attempts whose worker fell silent"),
        ("handed_back", "Attempts that a worker gave back as it was shut down"),
    ):
        yield CounterMetricFamily(f"baton_builds_{name}", words, value=totals.get(name, 0))
    yield CounterMetricFamily(
        "baton_log_bytes", "Bytes of logs that workers sent", value=totals.get("log_bytes", 0)
    )
    ended = CounterMetricFamily(
        "baton_builds_ended", "Builds that ended", labels=["status", "reason"]
    )
    for name, value in sorted(totals.items()):
        if name.startswith("ended:"):
            _, status, reason = name.split(":", 2)
            ended.add_metric([status, reason], value)
    yield ended
