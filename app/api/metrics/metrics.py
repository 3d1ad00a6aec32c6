"""What Prometheus is told.

Two kinds of numbers. Those of builds come from the store and are everybody's: each replica says the
same, so they are looked at with `max`, not summed. The others (minting, sending, requests, streams)
are this process' own, and are summed. No label has a value that a client can make up.
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

    def minted(self, seconds: float, reason: Reason | None) -> None:
        """A build token came after so many seconds, or none for a reason."""
        self._mint.labels(self._provider).observe(seconds)
        if reason:
            self._mint_failures.labels(self._provider, reason).inc()

    def exchanged(self, seconds: float, reason: Reason | None) -> None:
        """All tokens of a build came for a user's after so many seconds, or none for a reason."""
        self._exchange.labels(self._provider).observe(seconds)
        if reason:
            self._exchange_failures.labels(self._provider, reason).inc()

    def sent(self, seconds: float, *, confirmed: bool) -> None:
        """The broker confirmed a message after so many seconds, or did not."""
        self._send.observe(seconds)
        if not confirmed:
            self._send_failures.inc()

    def count_streams(self, count: Callable[[], float]) -> None:
        """Ask `count` for how many logs and events are being followed."""
        self._streams.set_function(count)

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
