"""Heartbeats, and what comes back on any call: cancel, and the lease that is lost."""

import asyncio
import time
from itertools import pairwise

import pytest
from starlette.requests import Request
from starlette.responses import Response

from app.contract.runs import Progress
from tests.support.waiting import wait_until
from tests.support.worker.api_double import (
    BUILD,
    NOISES,
    Behaviour,
    Double,
    cut_off_before,
    lost,
    slow,
)
from tests.support.worker.calls import api_at, beating, claimed, result_for, shipping, soon
from worker.api_client import TransientError
from worker.errors import ReportImpossible
from worker.heartbeat import Heartbeat, RunSignals


def test_the_lease_is_renewed_and_steps_are_told_when_they_change(double: Double, url: str) -> None:
    with api_at(url) as api:
        claimed(api)
        with beating(api, RunSignals()) as heartbeat:
            wait_until(
                "beats", lambda: double.requests.count(("POST", f"/builds/{BUILD}/heartbeat"))
            )
            wait_until("the first progress", lambda: len(double.progress) == 1)
            heartbeat.progress_changed()
            wait_until("the second", lambda: len(double.progress) == 2)
    gaps = [b - a for a, b in pairwise(double.times)]
    assert max(gaps) < 0.6 * 3, "in time, even on a busy machine"


@pytest.mark.parametrize("noise", NOISES)
def test_noise_never_ends_a_build_and_what_it_swallowed_is_told_again(
    double: Double, url: str, noise: Behaviour
) -> None:
    signals = RunSignals()
    with api_at(url) as api:
        claimed(api)
        double.misbehave.extend([noise, noise])
        with beating(api, signals):
            wait_until("the progress is told", lambda: double.progress and not double.misbehave)
    assert signals.lost is None
    assert not signals.cancel


def only_on(method: str, ending: str, behaviour: Behaviour) -> Behaviour:
    async def some(double: Double, request: Request, body: bytes) -> Response | None:
        if request.method == method and request.url.path.endswith(ending):
            return await behaviour(double, request, body)
        return None

    return some


async def cancelling(double: Double, request: Request, body: bytes) -> Response:
    double.cancel = True
    try:
        return double.well(request, body)
    finally:
        double.cancel = False


CALLS = [("PATCH", "/log"), ("POST", "/heartbeat"), ("PUT", BUILD)]


@pytest.mark.parametrize(("method", "ending"), CALLS)
def test_a_cancel_is_heard_on_every_call(
    double: Double, url: str, method: str, ending: str
) -> None:
    with api_at(url) as api:
        claimed(api)
        double.always = only_on(method, ending, cancelling)
        with shipping(api) as it, beating(api, it.signals):
            it.spool.append(b"hello")
            wait_until("it is heard", lambda: it.signals.cancel)
            it.spool.append(b" and bye")
            it.shipper.flush(soon())
            assert it.signals.lost is None
    assert bytes(double.log) == b"hello and bye"


@pytest.mark.parametrize(("method", "ending"), CALLS)
def test_a_lost_lease_is_heard_on_every_call(
    double: Double, url: str, method: str, ending: str
) -> None:
    with api_at(url) as api:
        claimed(api)
        double.always = only_on(method, ending, lost)
        with shipping(api) as it, beating(api, it.signals):
            it.spool.append(b"hello")
            wait_until("it is heard", lambda: it.signals.lost)
    assert str(it.signals.lost) == "lease-lost"
    assert bytes(double.log) in {b"", b"hello"}


def test_a_flush_learns_of_a_lost_lease_at_once(double: Double, url: str) -> None:
    with api_at(url) as api:
        claimed(api)
        double.always = lost
        with shipping(api) as it:
            it.spool.append(b"hello")
            with pytest.raises(ReportImpossible):
                it.shipper.flush(soon(60))
            assert it.signals.lost is not None


def test_a_lost_lease_ends_the_calls(double: Double, url: str) -> None:
    with api_at(url) as api:
        claimed(api)
        double.always = lost
        with shipping(api) as it, beating(api, it.signals):
            it.spool.append(b"hello")
            wait_until("it is heard", lambda: it.signals.lost)
        ended = len(double.requests)
        assert ended <= 4


def test_a_surprise_does_not_end_the_heartbeat(double: Double, url: str) -> None:
    surprises = [ValueError("a surprise")]

    def progress() -> Progress:
        if surprises:
            raise surprises.pop()
        return Progress(steps=[])

    with api_at(url) as api:
        claimed(api)
        heartbeat = Heartbeat(api=api, signals=RunSignals(), lease_seconds=0.6, progress=progress)
        heartbeat.start()
        try:
            wait_until("it goes on", lambda: double.progress)
        finally:
            heartbeat.stop()
    assert not surprises


# ── heartbeats that are held ──────────────────────────────────────────────────────────────────


def heartbeats(double: Double) -> list[float]:
    """When they came."""
    path = ("POST", f"/builds/{BUILD}/heartbeat")
    return [at for at, call in zip(double.times, double.requests, strict=True) if call == path]


def test_an_order_is_heard_by_the_heartbeat_that_is_held(double: Double, url: str) -> None:
    double.holds = True
    signals = RunSignals()
    with api_at(url) as api:
        claimed(api)
        with beating(api, signals, lease_seconds=6):
            wait_until("one is held", lambda: double.held)
            double.cancel = True
            wait_until("it is heard", lambda: signals.cancel)
            heard = len(double.prefers)
            wait_until("the lease is kept", lambda: len(double.prefers) >= heard + 2)
    assert double.prefers[0] == "wait=2"
    assert double.prefers[heard : heard + 2] == [None, None], "there is no order after this one"
    times = heartbeats(double)
    assert times[heard + 1] - times[heard - 1] > 1.6, "half of what it should be"


@pytest.mark.parametrize("holds", [True, False])
def test_holding_makes_no_more_requests(double: Double, url: str, *, holds: bool) -> None:
    double.holds = holds
    with api_at(url) as api:
        claimed(api)
        with beating(api, RunSignals(), lease_seconds=3):
            wait_until("some were sent", lambda: len(double.prefers) == 4)
    times = heartbeats(double)
    assert times[3] - times[0] > 1.2, "half of what it should be"


def test_steps_are_told_while_a_heartbeat_is_held(double: Double, url: str) -> None:
    double.holds = True
    with api_at(url) as api:
        claimed(api)
        with beating(api, RunSignals(), lease_seconds=60) as heartbeat:
            wait_until("one is held", lambda: double.held and len(double.progress) == 1)
            heartbeat.progress_changed()
            wait_until("the steps are told", lambda: len(double.progress) == 2)
            assert double.held == 1
            double.ending = True


def test_the_end_waits_for_no_heartbeat(double: Double, url: str) -> None:
    double.holds = True
    with api_at(url) as api:
        claimed(api)
        with beating(api, RunSignals(), lease_seconds=60):
            wait_until("one is held", lambda: double.held)
        assert double.held == 1
        api.report(result_for(b"", 0), deadline=soon())
        wait_until("it is answered", lambda: not double.held)
    assert len(double.prefers) == 1


def test_an_api_that_ends_is_followed_by_another_at_once(double: Double, url: str) -> None:
    double.holds = True
    with api_at(url) as api:
        claimed(api)
        with beating(api, RunSignals(), lease_seconds=360):
            wait_until("one is held", lambda: double.held)
            double.ending = True
            wait_until("it is answered", lambda: not double.held)
            double.ending = False
            wait_until("the next one is held", lambda: double.held and len(double.prefers) > 1)
        double.ending = True
    times = heartbeats(double)
    assert times[1] - times[0] > 0.4, "not all workers at once"


def test_what_cuts_a_held_heartbeat_off_is_noise_and_no_storm(double: Double, url: str) -> None:
    async def cut(double: Double, request: Request, body: bytes) -> Response | None:
        if "prefer" not in request.headers:
            return None
        await asyncio.sleep(0.1)
        return await cut_off_before(double, request, body)

    double.always = cut
    signals = RunSignals()
    with api_at(url) as api:
        claimed(api)
        with beating(api, signals, lease_seconds=60):
            wait_until("it was tried again", lambda: len(heartbeats(double)) == 3)
    assert signals.lost is None
    times = heartbeats(double)
    assert min(b - a for a, b in pairwise(times)) > 1


def test_a_held_heartbeat_that_is_not_answered_is_given_up_soon_after_its_time(
    double: Double, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.api_client._HELD_ANSWER_MARGIN", 0.2)
    with api_at(url) as api:
        claimed(api)
        double.always = slow(2)
        begun = time.monotonic()
        with pytest.raises(TransientError, match="ReadTimeout"):
            api.renew(1)
        assert time.monotonic() - begun > 1
