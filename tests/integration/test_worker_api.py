"""The worker's side of the wire against a real HTTP server that behaves badly.

Whatever happens on the way, the log that the server holds has no gap and no repeat.
"""

import asyncio
import hashlib
import json
import tempfile
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from app.contract import paths
from app.contract.problems import MEDIA_TYPE, TYPE_PREFIX, Code
from app.contract.runs import ClaimRequest, Progress, Result
from app.contract.status import Status
from tests.serving import serve
from tests.waiting import wait_until
from worker.api_client import Noise, RunApi, SendFrom
from worker.errors import LeaseLost, ReportImpossible
from worker.heartbeat import Heartbeat, Orders
from worker.logs import LogShipper, LogSpool

BUILD, TOKEN, LEASE = "bld_01TEST", "header.payload.signature", "lease-1"

Behaviour = Callable[["Double", Request, bytes], Awaitable[Response | None]]


def answer(body: dict[str, Any], status: int = 200) -> Response:
    return Response(json.dumps(body), status, media_type="application/json")


def first_byte(request: Request) -> int:
    return int(request.headers["content-range"].removeprefix("bytes ").partition("-")[0])


def problem(code: Code, status: int, **more: Any) -> Response:
    body = {"type": TYPE_PREFIX + code, "title": "", "status": status, "detail": "no", **more}
    return Response(json.dumps(body), status, media_type=MEDIA_TYPE)


@dataclass
class Double:
    """Speaks as the API does; `misbehave` is used up first, an entry for each request."""

    log: bytearray = field(default_factory=bytearray)
    start: int = 0
    misbehave: deque[Behaviour] = field(default_factory=deque)
    always: Behaviour | None = None
    cancel: bool = False
    lease_seconds: float = 3.0
    requests: list[tuple[str, str]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    nonces: list[str] = field(default_factory=list)
    progress: list[dict[str, Any]] = field(default_factory=list)
    result: dict[str, Any] | None = None

    def app(self) -> Starlette:
        methods = ["GET", "POST", "PUT", "PATCH"]
        return Starlette(routes=[Route("/{path:path}", self.handle, methods=methods)])

    async def handle(self, request: Request) -> Response:
        body = await request.body()
        self.requests.append((request.method, request.url.path))
        self.times.append(time.monotonic())
        assert request.headers["authorization"] == f"Bearer {TOKEN}"
        behaviour = self.misbehave.popleft() if self.misbehave else self.always
        refused = await behaviour(self, request, body) if behaviour else None
        return refused or self.well(request, body)

    def well(self, request: Request, body: bytes) -> Response:
        match request.method, request.url.path.rpartition("/")[2]:
            case "POST", "claim":
                self.nonces.append(json.loads(body)["nonce"])
                return answer(self.claim())
            case "PATCH", "log":
                assert request.headers["baton-lease"] == LEASE
                return self.append(first_byte(request), body)
            case "POST", "heartbeat":
                return answer(self.directive())
            case "PUT", _:
                return self.report(json.loads(body))
            case other:
                raise AssertionError(other)

    def claim(self) -> dict[str, Any]:
        return {
            "build_id": BUILD, "attempt": 1, "lease_id": LEASE, "lease_seconds": 3, "timeout": 60,
            "kill_grace": 1, "report_window": 10, "log_offset": self.start, "log_limit": 10**6,
            "spec": {"steps": [{"name": "a", "run": "true"}]},
        }  # fmt: skip

    def directive(self) -> dict[str, Any]:
        return {"cancel": self.cancel, "lease_seconds": self.lease_seconds}

    def append(self, first: int, data: bytes) -> Response:
        end = len(self.log)
        if first > end:
            return problem(Code.LOG_GAP, 416, end=end)
        known = min(end - first, len(data))
        assert self.log[first : first + known] == data[:known], "other bytes at the same place"
        self.log += data[known:]
        return answer({"end": len(self.log), **self.directive()}, 202)

    def report(self, body: dict[str, Any]) -> Response:
        if body["status"] == "running":
            self.progress.append(body)
            return answer(self.directive())
        if body["log_length"] != len(self.log):
            return problem(Code.LOG_INCOMPLETE, 412, end=min(len(self.log), body["log_length"]))
        self.result = body
        return answer(self.directive())


# ── ways to behave badly ──────────────────────────────────────────────────────────────────────────


async def bad_gateway(_: Double, __: Request, ___: bytes) -> Response:
    return Response("<h1>502 Bad Gateway</h1>", 502, media_type="text/html")


async def portal(_: Double, __: Request, ___: bytes) -> Response:
    return Response("<h1>Please log in</h1>", 200, media_type="text/html")


async def forbidden_by_a_wall(_: Double, __: Request, ___: bytes) -> Response:
    return Response("blocked", 403, media_type="text/plain")


async def elsewhere(_: Double, request: Request, __: bytes) -> Response:
    return Response(None, 308, {"Location": str(request.url.replace(path="/stolen"))})


async def not_taken(_: Double, __: Request, ___: bytes) -> Response:
    return problem(Code.INVALID_TOKEN, 401)


async def lost(_: Double, __: Request, ___: bytes) -> Response:
    return problem(Code.LEASE_LOST, 409)


async def endless(_: Double, __: Request, ___: bytes) -> Response:
    async def flood() -> AsyncIterator[bytes]:
        for _ in range(80):  # 5 MiB, which is more than a worker takes
            yield b" " * 65536
            await asyncio.sleep(0)

    return StreamingResponse(flood(), media_type="application/json")


async def cut_off_before(_: Double, __: Request, ___: bytes) -> Response:
    """The connection ends without an answer, and nothing was done."""
    return _Cut()


async def cut_off_after(double: Double, request: Request, body: bytes) -> Response:
    """The connection ends without an answer, but all was done."""
    double.well(request, body)
    return _Cut()


class _Cut(Response):
    async def __call__(self, _: Any, __: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200,
                    "headers": [(b"content-length", b"100")]})  # fmt: skip
        await send({"type": "http.response.body", "body": b"{", "more_body": False})


def busy_for(seconds: int) -> Behaviour:
    async def busy(_: Double, __: Request, ___: bytes) -> Response:
        response = problem(Code.UNAVAILABLE, 503)
        response.headers["Retry-After"] = str(seconds)
        return response

    return busy


def slow(seconds: float) -> Behaviour:
    async def wait(_: Double, __: Request, ___: bytes) -> None:
        await asyncio.sleep(seconds)

    return wait


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


NOISES: list[Behaviour] = [
    bad_gateway, portal, forbidden_by_a_wall, elsewhere, not_taken, endless, cut_off_before,
    cut_off_after, busy_for(0), slow(0.3),
]  # fmt: skip


# ── setup ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def double() -> Double:
    return Double()


@pytest.fixture
def url(double: Double) -> Iterator[str]:
    with serve(double.app()) as url:
        yield url


@contextmanager
def api_at(url: str, *, key_patience: float = 30) -> Iterator[RunApi]:
    api = RunApi(api_url=url, build_id=BUILD, token=TOKEN, key_patience=key_patience)
    try:
        yield api
    finally:
        api.close()


def claimed(api: RunApi) -> None:
    claim = api.claim(ClaimRequest(nonce="n" * 16, worker="test"), deadline=soon())
    assert claim.lease_id == LEASE


def soon(seconds: float = 20) -> float:
    return time.monotonic() + seconds


@dataclass
class Shipping:
    spool: LogSpool
    shipper: LogShipper
    orders: Orders


@contextmanager
def shipping(api: RunApi, *, offset: int = 0, limit: int = 10**6) -> Iterator[Shipping]:
    orders = Orders()
    with tempfile.TemporaryFile() as file:
        spool = LogSpool(file, limit)
        shipper = LogShipper(
            spool=spool, api=api, offset=offset, heard=orders.heard, lost=orders.lose
        )
        shipper.start()
        try:
            yield Shipping(spool, shipper, orders)
        finally:
            shipper.stop()


def lines(first: int, last: int) -> bytes:
    return b"".join(b"line %d\n" % n for n in range(first, last))


def result_for(log: bytes, length: int) -> Result:
    return Result(
        status=Status.SUCCEEDED, log_length=length, log_sha256=hashlib.sha256(log).hexdigest()
    )


# ── claim and report ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("noise", NOISES)
def test_a_claim_outlasts_noise_with_one_nonce(double: Double, url: str, noise: Behaviour) -> None:
    double.misbehave.extend([noise, noise])
    with api_at(url) as api:
        claimed(api)
    assert set(double.nonces) == {"n" * 16}
    assert ("GET", "/stolen") not in double.requests
    assert all(path == paths.of(paths.CLAIM, BUILD) for _, path in double.requests)


def test_a_claim_ends_at_its_deadline(double: Double, url: str) -> None:
    double.always = bad_gateway
    with api_at(url) as api, pytest.raises(ReportImpossible):
        api.claim(ClaimRequest(nonce="n" * 16, worker="test"), deadline=soon(1))
    assert len(double.requests) >= 3


def test_a_refused_claim_is_not_repeated(double: Double, url: str) -> None:
    async def held(_: Double, __: Request, ___: bytes) -> Response:
        return problem(Code.HELD_BY_ANOTHER, 409)

    double.always = held
    with api_at(url) as api, pytest.raises(LeaseLost, match="held-by-another"):
        claimed(api)
    assert len(double.requests) == 1


def test_retry_after_is_waited_for(double: Double, url: str) -> None:
    double.misbehave.append(busy_for(2))
    with api_at(url) as api:
        claimed(api)
    first, second = double.times
    assert second - first >= 2


def test_a_claim_that_nobody_hears_ends_at_its_deadline() -> None:
    with api_at("http://127.0.0.1:9") as api, pytest.raises(ReportImpossible, match="ConnectError"):
        api.claim(ClaimRequest(nonce="n" * 16, worker="test"), deadline=soon(0.5))


def test_a_token_is_distrusted_for_a_while_before_it_counts(double: Double, url: str) -> None:
    double.misbehave.extend([not_taken] * 3)
    with api_at(url, key_patience=30) as api:
        claimed(api)
    double.always = not_taken
    with api_at(url, key_patience=0.5) as api, pytest.raises(LeaseLost, match="invalid-token"):
        claimed(api)


def test_a_call_that_succeeds_in_between_restores_the_trust(double: Double, url: str) -> None:
    """One of several APIs does not have the new key yet."""
    with api_at(url, key_patience=0.3) as api:
        end = soon(1)
        while time.monotonic() < end:
            double.misbehave.append(not_taken)
            with pytest.raises(Noise):
                api.renew(None)
            api.renew(None)


def test_closing_ends_a_call_that_is_being_repeated(double: Double, url: str) -> None:
    double.always = busy_for(60)
    errors: list[Exception] = []

    def claim() -> None:
        try:
            claimed(api)
        except ReportImpossible as error:
            errors.append(error)

    with ExitStack() as stack:
        api = stack.enter_context(api_at(url))
        thread = threading.Thread(target=claim)
        thread.start()
        wait_until("it was refused", lambda: double.requests)
        stack.close()
        thread.join(20)
    assert errors


@pytest.mark.parametrize("noise", NOISES)
def test_a_result_outlasts_noise(double: Double, url: str, noise: Behaviour) -> None:
    double.misbehave.extend([noise, noise])
    with api_at(url) as api:
        api.report(result_for(b"", 0), deadline=soon())
    assert double.result is not None


def test_a_result_whose_log_is_not_there_asks_for_the_rest(url: str) -> None:
    with api_at(url) as api, pytest.raises(SendFrom) as caught:
        api.report(result_for(b"", 7), deadline=soon())
    assert caught.value.end == 0


# ── the log ───────────────────────────────────────────────────────────────────────────────────────


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
            assert it.orders.lost is None
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
            assert it.orders.lost is not None
            assert "outside" in str(it.orders.lost)


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
            assert "outside" in str(it.orders.lost)


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


def test_a_full_log_ends_the_sending_and_not_the_build(double: Double, url: str) -> None:
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
            before = time.process_time()
            it.spool.append(b"c" * 60)
            it.shipper.flush(soon())
            end = soon(1)
            wait_until("a while has passed", lambda: time.monotonic() > end)
            assert time.process_time() - before < 0.7, "it waits, and does not spin"
            assert len(double.requests) == sent
            length = it.shipper.position
            api.report(
                Result(
                    status=Status.SUCCEEDED, log_length=length, log_sha256=it.spool.sha256(length)
                ),
                deadline=soon(),
            )
            assert it.orders.lost is None
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
        with shipping(api) as it, beating(api, it.orders):
            it.spool.append(b"hello")
            wait_until("both were refused", lambda: len(set(double.requests)) >= 3)
            assert it.orders.lost is None
            double.always = None
            it.shipper.flush(soon())
            assert it.orders.lost is None
    assert bytes(double.log) == b"hello"


# ── orders ────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def beating(api: RunApi, orders: Orders, lease_seconds: float = 0.6) -> Iterator[Heartbeat]:
    heartbeat = Heartbeat(
        api=api, orders=orders, lease_seconds=lease_seconds, progress=lambda: Progress(steps=[])
    )
    heartbeat.start()
    try:
        yield heartbeat
    finally:
        heartbeat.stop()


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
