"""The log against a real HTTP server that behaves badly: no gap in it, and no repeat."""

import hashlib
import time

import pytest
from starlette.requests import Request
from starlette.responses import Response

from app.contract.problems import Code
from app.contract.runs import Result
from app.contract.status import Status
from tests.support.waiting import wait_until
from tests.support.worker.api_double import (
    NOISES,
    Behaviour,
    Double,
    answer,
    first_byte,
    not_taken,
    problem,
)
from tests.support.worker.calls import api_at, beating, claimed, result_for, shipping, soon
from worker.api_client import SendFrom
from worker.errors import ReportImpossible
from worker.log_shipper import LogSpool


async def takes_half(double: Double, request: Request, body: bytes) -> Response:
    """Keeps a part of what was sent, and says so."""
    assert first_byte(request) == len(double.log)
    double.log += body[: len(body) // 2]
    return answer({"end": len(double.log), **double.directive()}, 202)


def forgets(count: int) -> Behaviour:
    """The store lost its last bytes, as after a power cut."""

    async def forget(double: Double, _: Request, __: bytes) -> None:
        del double.log[max(double.start, len(double.log) - count) :]

    return forget


def lines(first: int, last: int) -> bytes:
    return b"".join(b"line %d\n" % n for n in range(first, last))


@pytest.mark.parametrize("noise", [*NOISES, takes_half, forgets(5), forgets(10**6)])
def test_the_log_arrives_whole_whatever_happens_on_the_way(
    double: Double, url: str, noise: Behaviour
) -> None:
    double.start = 3
    double.log += b"old"
    with api_at(url) as api:
        claimed(api)
        with shipping(api, offset=3) as it:
            it.spool.append(lines(0, 10))
            wait_until("something has arrived", lambda: len(double.log) > 3)
            for first in (10, 20):
                double.misbehave.append(noise)
                it.spool.append(lines(first, first + 10))
                wait_until("the noise is over", lambda: not double.misbehave)
            it.spool.append(lines(30, 40))
            it.shipper.flush(soon())
            assert it.shipper.position == len(lines(0, 40))
            assert it.signals.lost is None
    assert bytes(double.log) == b"old" + lines(0, 40)


def test_a_long_log_goes_in_pieces(double: Double, url: str) -> None:
    whole = lines(0, 100_000)
    with api_at(url) as api:
        claimed(api)
        with shipping(api, limit=10**7) as it:
            for start in range(0, len(whole), 10_007):
                it.spool.append(whole[start : start + 10_007])
            it.shipper.flush(soon())
    assert bytes(double.log) == whole


def test_an_api_that_is_ahead_is_believed(double: Double, url: str) -> None:
    """The answer to an append was lost, and the API's 416 says that it has more than was asked."""

    async def ahead(double: Double, request: Request, body: bytes) -> Response:
        double.well(request, body)
        return problem(Code.LOG_GAP, 416, end=len(double.log))

    with api_at(url) as api:
        claimed(api)
        double.misbehave.append(ahead)
        with shipping(api) as it:
            it.spool.append(lines(0, 10))
            it.shipper.flush(soon())
            it.spool.append(lines(10, 20))
            it.shipper.flush(soon())
    assert bytes(double.log) == lines(0, 20)


def test_a_log_that_the_api_lost_is_sent_again_before_the_result(double: Double, url: str) -> None:
    with api_at(url) as api:
        claimed(api)
        with shipping(api) as it:
            it.spool.append(lines(0, 50))
            it.shipper.flush(soon())
            del double.log[100:]
            length = it.shipper.position
            with pytest.raises(SendFrom) as caught:
                api.report(result_for(lines(0, 50), length), deadline=soon())
            it.shipper.rewind(caught.value.end)
            it.shipper.flush(soon())
            api.report(result_for(lines(0, 50), length), deadline=soon())
    assert bytes(double.log) == lines(0, 50)
    assert double.result is not None


@pytest.mark.parametrize("end", [-1, 2, 1000])
@pytest.mark.parametrize("code", [Code.LOG_GAP, Code.LOG_FULL])
def test_a_log_of_another_length_than_this_attempts_is_not_ours(
    double: Double, url: str, code: Code, end: int
) -> None:
    async def strange(_: Double, __: Request, ___: bytes) -> Response:
        return problem(code, 416 if code is Code.LOG_GAP else 413, end=end)

    double.start = 3
    with api_at(url) as api:
        claimed(api)
        double.always = strange
        with shipping(api, offset=3) as it:
            it.spool.append(b"hello")
            with pytest.raises(ReportImpossible):
                it.shipper.flush(soon())
            assert it.signals.lost is not None
            assert "outside" in str(it.signals.lost)


def test_an_accepted_end_that_nobody_sent_is_not_ours(double: Double, url: str) -> None:
    async def strange(double: Double, _: Request, __: bytes) -> Response:
        return answer({"end": 10**6, **double.directive()}, 202)

    with api_at(url) as api:
        claimed(api)
        double.always = strange
        with shipping(api) as it:
            it.spool.append(b"hello")
            with pytest.raises(ReportImpossible):
                it.shipper.flush(soon())
            assert "outside" in str(it.signals.lost)


async def asks_for_the_same(_: Double, request: Request, __: bytes) -> Response:
    return problem(Code.LOG_GAP, 416, end=first_byte(request))


async def takes_nothing(double: Double, _: Request, __: bytes) -> Response:
    return answer({"end": len(double.log), **double.directive()}, 202)


@pytest.mark.parametrize("stuck", [asks_for_the_same, takes_nothing])
def test_an_api_that_makes_no_progress_is_not_hammered(
    double: Double, url: str, stuck: Behaviour
) -> None:
    with api_at(url) as api:
        claimed(api)
        double.always = stuck
        with shipping(api) as it:
            it.spool.append(b"hello")
            with pytest.raises(ReportImpossible):
                it.shipper.flush(soon(1.5))
            assert len(double.requests) < 10
            double.always = None
            it.shipper.flush(soon())
    assert bytes(double.log) == b"hello"


def counted(spool: LogSpool, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by an entry each time when somebody waits for more of the spool."""
    waits: list[int] = []
    wait = spool.wait_for_more

    def counting(than: int, timeout: float) -> int:
        waits.append(than)
        return wait(than, timeout)

    monkeypatch.setattr(spool, "wait_for_more", counting)
    return waits


def test_a_full_log_ends_the_sending_and_not_the_build(
    double: Double, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(double: Double, request: Request, body: bytes) -> Response | None:
        if request.method == "PATCH" and len(double.log) + len(body) > 100:
            return problem(Code.LOG_FULL, 413, end=len(double.log))
        return None

    with api_at(url) as api:
        claimed(api)
        double.always = full
        with shipping(api) as it:
            it.spool.append(b"a" * 60)
            it.shipper.flush(soon())
            it.spool.append(b"b" * 60)
            it.shipper.flush(soon())
            sent = len(double.requests)
            waits = counted(it.spool, monkeypatch)
            it.spool.append(b"c" * 60)
            it.shipper.flush(soon())
            end = soon(1)
            wait_until("a while has passed", lambda: time.monotonic() > end)
            assert len(waits) < 10, "it waits, and does not spin"
            assert len(double.requests) == sent
            length = it.shipper.position
            api.report(
                Result(
                    status=Status.SUCCEEDED, log_length=length, log_sha256=it.spool.sha256(length)
                ),
                deadline=soon(),
            )
            assert it.signals.lost is None
    assert bytes(double.log) == b"a" * 60
    assert double.result is not None
    assert double.result["log_sha256"] == hashlib.sha256(b"a" * 60).hexdigest()


def test_a_full_log_that_lost_its_end_is_filled_again(double: Double, url: str) -> None:
    async def full(double: Double, _: Request, body: bytes) -> Response | None:
        if len(double.log) + len(body) > 100:
            return problem(Code.LOG_FULL, 413, end=len(double.log))
        return None

    with api_at(url) as api:
        claimed(api)
        double.always = full
        with shipping(api) as it:
            it.spool.append(b"a" * 60)
            it.shipper.flush(soon())
            it.spool.append(b"b" * 60)
            it.shipper.flush(soon())
            double.always = None
            del double.log[30:]
            it.shipper.rewind(30)
            it.shipper.flush(soon())
    assert bytes(double.log) == b"a" * 60 + b"b" * 60


def test_stopping_takes_no_time(double: Double, url: str) -> None:
    """It stands between the end of a build and the next one on this worker."""
    with api_at(url) as api:
        claimed(api)
        stops = []
        for _ in range(5):
            with shipping(api, offset=len(double.log)) as it:
                it.spool.append(b"x")
                it.shipper.flush(soon())
                before = time.monotonic()
                it.shipper.stop()
                stops.append(time.monotonic() - before)
    assert min(stops) < 0.2


def test_keys_that_change_for_a_while_end_nothing(double: Double, url: str) -> None:
    with api_at(url) as api:
        claimed(api)
        double.always = not_taken
        with shipping(api) as it, beating(api, it.signals):
            it.spool.append(b"hello")
            wait_until("both were refused", lambda: len(set(double.requests)) >= 3)
            assert it.signals.lost is None
            double.always = None
            it.shipper.flush(soon())
            assert it.signals.lost is None
    assert bytes(double.log) == b"hello"
