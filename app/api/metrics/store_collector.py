"""`StoreCollector` exports the counts of all builds, which are the same in each replica."""

from collections.abc import Iterator

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from app.builds.store.count_reader import Counts


class StoreCollector(Collector):
    """A collector exports the store's counts of one moment; None: the store was away."""

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
        yield from _waits(counts)


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


def _waits(counts: Counts) -> Iterator[Metric]:
    for name, what, words in (
        ("baton_dispatch_wait_seconds", "dispatch", "its message to a worker"),
        ("baton_claim_wait_seconds", "claim", "its start on a worker"),
    ):
        waits = counts.waits(what)
        yield HistogramMetricFamily(
            name,
            f"Time from a build's submission to {words}, first attempts only",
            buckets=[(bound.replace("Inf", "+Inf"), count) for bound, count in waits.buckets],
            sum_value=waits.total,
        )
