"""Heartbeats, and what comes back on any call: cancel, and the lease that is lost."""

import pytest
from starlette.requests import Request
from starlette.responses import Response

from app.contract.runs import Progress
from tests.api_double import (
    BUILD,
    NOISES,
    Behaviour,
    Double,
    lost,
)
from tests.waiting import wait_until
from tests.worker_calls import api_at, beating, claimed, shipping, soon
from worker.errors import ReportImpossible
from worker.heartbeat import Heartbeat, Orders


def test_the_lease_is_renewed_and_steps_are_told_when_they_change(double: Double, url: str) -> None:
    with api_at(url) as api:
        claimed(api)
        with beating(api, Orders()) as heartbeat:
            wait_until(
                "beats", lambda: double.requests.count(("POST", f"/builds/{BUILD}/heartbeat"))
            )
            wait_until("the first progress", lambda: len(double.progress) == 1)
            heartbeat.tell()
            wait_until("the second", lambda: len(double.progress) == 2)
    gaps = [b - a for a, b in zip(double.times, double.times[1:], strict=False)]
    assert max(gaps) < 0.6 * 3, "in time, even on a busy machine"


@pytest.mark.parametrize("noise", NOISES)
def test_noise_never_ends_a_build_and_what_it_swallowed_is_told_again(
    double: Double, url: str, noise: Behaviour
) -> None:
    orders = Orders()
    with api_at(url) as api:
        claimed(api)
        double.misbehave.extend([noise, noise])
        with beating(api, orders):
            wait_until("the progress is told", lambda: double.progress and not double.misbehave)
    assert orders.lost is None
    assert not orders.cancel


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
        with shipping(api) as it, beating(api, it.orders):
            it.spool.append(b"hello")
            wait_until("it is heard", lambda: it.orders.cancel)
            it.spool.append(b" and bye")
            it.shipper.flush(soon())
            assert it.orders.lost is None
    assert bytes(double.log) == b"hello and bye"


@pytest.mark.parametrize(("method", "ending"), CALLS)
def test_a_lost_lease_is_heard_on_every_call(
    double: Double, url: str, method: str, ending: str
) -> None:
    with api_at(url) as api:
        claimed(api)
        double.always = only_on(method, ending, lost)
        with shipping(api) as it, beating(api, it.orders):
            it.spool.append(b"hello")
            wait_until("it is heard", lambda: it.orders.lost)
    assert str(it.orders.lost) == "lease-lost"
    assert bytes(double.log) in {b"", b"hello"}


def test_a_flush_learns_of_a_lost_lease_at_once(double: Double, url: str) -> None:
    with api_at(url) as api:
        claimed(api)
        double.always = lost
        with shipping(api) as it:
            it.spool.append(b"hello")
            with pytest.raises(ReportImpossible):
                it.shipper.flush(soon(60))
            assert it.orders.lost is not None


def test_a_lost_lease_ends_the_calls(double: Double, url: str) -> None:
    with api_at(url) as api:
        claimed(api)
        double.always = lost
        with shipping(api) as it, beating(api, it.orders):
            it.spool.append(b"hello")
            wait_until("it is heard", lambda: it.orders.lost)
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
        heartbeat = Heartbeat(api=api, orders=Orders(), lease_seconds=0.6, progress=progress)
        heartbeat.start()
        try:
            wait_until("it goes on", lambda: double.progress)
        finally:
            heartbeat.stop()
    assert not surprises
