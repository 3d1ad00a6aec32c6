"""The parts of a worker that speak to the API, each started and stopped by itself."""

import hashlib
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from app.contract.runs import ClaimRequest, Progress, Result
from app.contract.status import Status
from tests.support.worker.api_double import BUILD, LEASE, TOKEN
from worker.api_client import RunApi, connections
from worker.heartbeat import Heartbeat, RunSignals
from worker.log_shipper import LogShipper, LogSpool


@contextmanager
def api_at(url: str, *, key_rotation_timeout: float = 30) -> Iterator[RunApi]:
    with connections(url) as http:
        api = RunApi(http, build_id=BUILD, token=TOKEN, key_rotation_timeout=key_rotation_timeout)
        try:
            yield api
        finally:
            join_calls()
            api.close()


def join_calls() -> None:
    """Wait for calls that a heartbeat did not wait for: closing what they use leaks a socket."""
    for thread in threading.enumerate():
        if thread.name in {"heartbeat", "progress"}:
            thread.join(30)
            assert not thread.is_alive()


def claimed(api: RunApi) -> None:
    claim = api.claim(ClaimRequest(nonce="n" * 16, worker="test"), deadline=soon())
    assert claim.lease_id == LEASE


def soon(seconds: float = 20) -> float:
    return time.monotonic() + seconds


@dataclass
class Shipping:
    spool: LogSpool
    shipper: LogShipper
    signals: RunSignals


@contextmanager
def shipping(api: RunApi, *, offset: int = 0, limit: int = 10**6) -> Iterator[Shipping]:
    signals = RunSignals()
    with tempfile.TemporaryFile() as file:
        spool = LogSpool(file, limit)
        shipper = LogShipper(
            spool=spool,
            api=api,
            offset=offset,
            on_directive=signals.apply,
            on_lease_lost=signals.lease_lost,
        )
        shipper.start()
        try:
            yield Shipping(spool, shipper, signals)
        finally:
            shipper.stop()


@contextmanager
def beating(api: RunApi, signals: RunSignals, lease_seconds: float = 0.6) -> Iterator[Heartbeat]:
    heartbeat = Heartbeat(
        api=api, signals=signals, lease_seconds=lease_seconds, progress=lambda: Progress(steps=[])
    )
    heartbeat.start()
    try:
        yield heartbeat
    finally:
        heartbeat.stop()


def result_for(log: bytes, length: int) -> Result:
    return Result(
        status=Status.SUCCEEDED, log_length=length, log_sha256=hashlib.sha256(log).hexdigest()
    )
