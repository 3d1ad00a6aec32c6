"""Claim and report against a real HTTP server that behaves badly."""

import threading
import time
from contextlib import ExitStack

import pytest
from starlette.requests import Request
from starlette.responses import Response

from app.contract import paths
from app.contract.problems import Code
from app.contract.runs import ClaimRequest
from tests.support.waiting import wait_until
from tests.support.worker.api_double import (
    BUILD,
    NOISES,
    Behaviour,
    Double,
    bad_gateway,
    busy_for,
    not_taken,
    problem,
)
from tests.support.worker.calls import api_at, claimed, result_for, soon
from worker.api_client import SendFrom, TransientError
from worker.errors import LeaseLost, ReportImpossible


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
    with api_at(url, key_rotation_timeout=30) as api:
        claimed(api)
    double.always = not_taken
    with (
        api_at(url, key_rotation_timeout=0.5) as api,
        pytest.raises(LeaseLost, match="invalid-token"),
    ):
        claimed(api)


def test_a_call_that_succeeds_in_between_restores_the_trust(double: Double, url: str) -> None:
    """One of several APIs does not have the new key yet."""
    with api_at(url, key_rotation_timeout=0.3) as api:
        end = soon(1)
        while time.monotonic() < end:
            double.misbehave.append(not_taken)
            with pytest.raises(TransientError):
                api.renew()
            api.renew()


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
