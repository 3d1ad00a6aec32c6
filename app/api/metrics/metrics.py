"""What Prometheus is told.

Two kinds of numbers. Those of builds come from the store and are everybody's: each replica says the
same, so they are looked at with `max`, not summed. The others (minting, sending, requests, streams)
are this process' own, and are summed. No label has a value that a client can make up.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from app.api.metrics.store_collector import StoreCollector
from app.api.stream_limit import StreamLimit
from app.builds.dispatch import Mint
from app.builds.errors import MintFailed, QueueUnavailable, StoreUnavailable
from app.builds.model import PrefetchedTokens, Ticket, Timers
from app.builds.queue import BuildQueue
from app.builds.service import PrefetchTokens
from app.builds.store.count_reader import CountReader

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

#: Methods that have a name of their own (RFC 9110 §9, RFC 5789); the rest is `other`.
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

# When each series began, as a series of its own: twice as many, and nobody reads them.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """The numbers of one process, and the way to those of all."""

    def __init__(self, reader: CountReader, *, provider: str) -> None:
        """`provider` is the kind of minter that the tokens come from."""
        self._reader = reader
        self._own = CollectorRegistry()
        self._provider = provider
        self._mint = self._seconds(
            "baton_mint_seconds", "Time to get a build token, failures included", ["provider"]
        )
        self._mint_failures = self._count(
            "baton_mint_failures", "Tokens that were not to be had", ["provider", "reason"]
        )
        self._exchange = self._seconds(
            "baton_exchange_seconds",
            "Time to exchange a user's token for all tokens of a build, failures included",
            ["provider"],
        )
        self._exchange_failures = self._count(
            "baton_exchange_failures",
            "Submissions whose user's token was not exchanged",
            ["provider", "reason"],
        )
        self._send = self._seconds(
            "baton_send_seconds", "Time to hand a message to the broker, failures included"
        )
        self._send_failures = self._count(
            "baton_send_failures", "Messages that the broker did not confirm"
        )
        self._request_seconds = self._seconds(
            "baton_http_request_seconds",
            "Time until the answer to a request begins; a followed log goes on after that",
            ["method", "route"],
        )
        self._requests = self._count(
            "baton_http_requests", "Requests that were answered", ["method", "route", "status"]
        )
        self._answers: dict[tuple[str, str, str], Counter] = {}
        self._times: dict[tuple[str, str, str], Histogram] = {}
        self._streams = Gauge(
            "baton_streams_open", "Logs and events that are being followed", registry=self._own
        )
        # Memory, processor time and open files, where the system tells of them.
        ProcessCollector(registry=self._own)

    def _seconds(self, name: str, words: str, labels: Sequence[str] = ()) -> Histogram:
        return Histogram(name, words, labels, buckets=_SECONDS, registry=self._own)

    def _count(self, name: str, words: str, labels: Sequence[str] = ()) -> Counter:
        return Counter(name, words, labels, registry=self._own)

    def observed_mint(self, mint: Mint) -> Mint:
        """The same, looked at."""
        seconds = self._mint.labels(self._provider)

        async def observed(*, user_id: str, build_id: str, lifetime: float) -> Ticket:
            with _timed(seconds):
                try:
                    return await mint(user_id=user_id, build_id=build_id, lifetime=lifetime)
                except MintFailed as error:
                    self._mint_failures.labels(self._provider, error.reason).inc()
                    raise

        return observed

    def observed_exchange(
        self, exchange: Callable[[str], PrefetchTokens]
    ) -> Callable[[str], PrefetchTokens]:
        """The same, looked at."""
        seconds = self._exchange.labels(self._provider)

        def observed(subject_token: str) -> PrefetchTokens:
            prefetch = exchange(subject_token)

            async def prefetched(
                *, user_id: str, build_id: str, timeout: float
            ) -> PrefetchedTokens:
                with _timed(seconds):
                    try:
                        return await prefetch(user_id=user_id, build_id=build_id, timeout=timeout)
                    except MintFailed as error:
                        self._exchange_failures.labels(self._provider, error.reason).inc()
                        raise

            return prefetched

        return observed

    def observed_queue(self, queue: BuildQueue) -> BuildQueue:
        """The same, looked at."""
        return _ObservedQueue(queue, self._send, self._send_failures)

    def observed_streams(self, streams: StreamLimit) -> StreamLimit:
        """The same, looked at."""
        self._streams.set_function(lambda: streams.open)
        return streams

    def answered(self, method: str, route: str, status: int, seconds: float | None = None) -> None:
        """A request to the path template `route` got its answer; '' where there is no such path,
        and then no time either."""
        series = (method if method in _METHODS else "other", route, str(status))
        answers = self._answers.get(series)
        if answers is None:  # looking a series up costs more than counting in it
            answers = self._answers[series] = self._requests.labels(*series)
        answers.inc()
        if seconds is None:
            return
        times = self._times.get(series)
        if times is None:
            times = self._times[series] = self._request_seconds.labels(*series[:2])
        times.observe(seconds)

    async def text(self) -> bytes:
        """Everything, in Prometheus' text format."""
        shared = CollectorRegistry()
        try:
            counts = await self._reader.read()
        except StoreUnavailable:
            counts = None
        shared.register(StoreCollector(counts))
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
