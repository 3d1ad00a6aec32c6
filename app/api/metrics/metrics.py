"""`Metrics` holds the metrics for Prometheus, of two kinds.

Those of builds come from the store: each replica exports the same values, so queries take their
`max` and not their sum. The others (minting, sending, requests, streams) are this process' own, and
are summed. No label has a value that a client can make up.
"""

from collections.abc import Callable, Sequence
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
from app.builds.errors import StoreUnavailable
from app.builds.store.count_reader import CountReader
from app.contract.status import Reason

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

#: Methods that are a label's value (RFC 9110 §9, RFC 5789); any other method is `other`.
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

# Without the `_created` series, which double the number of series and which nobody reads.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """`Metrics` counts for one process, and reads the counts of all builds from the store."""

    def __init__(self, reader: CountReader, *, provider: str) -> None:
        """Take the kind of minter that the tokens come from, the label `provider`."""
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
        # Memory, CPU time and open files, on systems that have /proc.
        ProcessCollector(registry=self._own)

    def _seconds(self, name: str, words: str, labels: Sequence[str] = ()) -> Histogram:
        return Histogram(name, words, labels, buckets=_SECONDS, registry=self._own)

    def _count(self, name: str, words: str, labels: Sequence[str] = ()) -> Counter:
        return Counter(name, words, labels, registry=self._own)

    def minted(self, seconds: float, reason: Reason | None) -> None:
        """Count a mint that took `seconds`; with a `reason`, it failed."""
        self._mint.labels(self._provider).observe(seconds)
        if reason:
            self._mint_failures.labels(self._provider, reason).inc()

    def exchanged(self, seconds: float, reason: Reason | None) -> None:
        """Count an exchange that took `seconds`; with a `reason`, it failed."""
        self._exchange.labels(self._provider).observe(seconds)
        if reason:
            self._exchange_failures.labels(self._provider, reason).inc()

    def sent(self, seconds: float, *, confirmed: bool) -> None:
        """Count a message that took `seconds` to send, and whether the broker confirmed it."""
        self._send.observe(seconds)
        if not confirmed:
            self._send_failures.inc()

    def count_streams(self, count: Callable[[], float]) -> None:
        """Export the number of open streams, which `count` returns."""
        self._streams.set_function(count)

    def answered(self, method: str, route: str, status: int, seconds: float | None = None) -> None:
        """Count the response to a request, `seconds` after its arrival.

        `route` is the template of the path. For an unknown path it is '', and there are no
        `seconds`.
        """
        series = (method if method in _METHODS else "other", route, str(status))
        answers = self._answers.get(series)
        if answers is None:  # to look a series up costs more than to count
            answers = self._answers[series] = self._requests.labels(*series)
        answers.inc()
        if seconds is None:
            return
        times = self._times.get(series)
        if times is None:
            times = self._times[series] = self._request_seconds.labels(*series[:2])
        times.observe(seconds)

    async def text(self) -> bytes:
        """Return all metrics in Prometheus' text format; while the store is away, only our own."""
        shared = CollectorRegistry()
        try:
            counts = await self._reader.read()
        except StoreUnavailable:
            counts = None
        shared.register(StoreCollector(counts))
        return generate_latest(shared) + generate_latest(self._own)
