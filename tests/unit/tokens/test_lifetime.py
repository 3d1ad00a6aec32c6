"""The sum: a token outlives the last report, and every fence stands outside every timer."""

import math
from fractions import Fraction

import pytest
from hypothesis import assume, example, given, strategies as st
from pydantic import ValidationError

from app.config.lifetime import (
    DISPATCH_MARGIN,
    FENCE,
    Timing,
    redelivery_after,
    timers,
)
from app.contract.spec import MAX_TIMEOUT, BuildSpec
from app.minting import MintRequest
from app.tokens.errors import InvalidToken
from app.tokens.minting.local import LocalMinter
from app.tokens.signing_key import SigningKey
from app.tokens.verifier import Policy, TrustedIssuer, Verifier

SECONDS = st.floats(0, 30 * 86400, allow_nan=False)
TIMINGS = st.builds(
    Timing,
    queue_ttl=SECONDS,
    kill_grace=SECONDS,
    report_window=SECONDS,
    leeway=st.floats(0, 300),
)
#: What the spec itself lets through; a timeout that it refuses never gets here.
TIMEOUTS = st.integers(1, MAX_TIMEOUT)

#: Adding floats up in another order may differ in the last digits; no timer is that fine.
ROUNDING = Fraction(1, 1000)


def test_the_timeouts_tried_here_are_those_that_a_spec_accepts() -> None:
    def spec(timeout: int) -> BuildSpec:
        return BuildSpec.model_validate({"steps": [{"name": "a", "run": "a"}], "timeout": timeout})

    assert (spec(1).timeout, spec(MAX_TIMEOUT).timeout) == (1, MAX_TIMEOUT)
    for refused in (0, MAX_TIMEOUT + 1):
        with pytest.raises(ValidationError):
            spec(refused)


@given(TIMINGS, TIMEOUTS, st.integers(0, 4_000_000_000))
@example(Timing(queue_ttl=0, kill_grace=0, report_window=0, leeway=0), 1, 0)
def test_a_token_outlives_the_last_report_even_by_a_clock_that_is_ahead(
    timing: Timing, timeout: int, issued_at: int
) -> None:
    of_attempt = timers(timing, timeout)
    exp = Fraction(issued_at) + Fraction(of_attempt.token_lifetime)

    last_report = issued_at + sum(
        map(
            Fraction,
            (DISPATCH_MARGIN, timing.queue_ttl, timeout, timing.kill_grace, timing.report_window),
        )
    )

    assert last_report + Fraction(timing.leeway) <= exp + ROUNDING


@given(TIMINGS, TIMEOUTS)
def test_celerys_fence_stands_outside_the_run_and_the_brokers_outside_celerys(
    timing: Timing, timeout: int
) -> None:
    of_attempt = timers(timing, timeout)

    # A task may begin the moment it arrives and get its claim through only as the message expires.
    ends_by_itself = of_attempt.message_expires + of_attempt.run_limit
    assert of_attempt.hard_limit >= ends_by_itself + FENCE / 2
    assert redelivery_after(timing, timeout) >= of_attempt.hard_limit + FENCE / 2


@given(TIMINGS, TIMEOUTS, TIMEOUTS)
def test_redelivery_after_the_longest_build_is_after_every_build(
    timing: Timing, timeout: int, longest: int
) -> None:
    assume(timeout <= longest)

    assert redelivery_after(timing, longest) >= timers(timing, timeout).hard_limit + FENCE / 2


@given(TIMINGS, TIMEOUTS)
def test_the_reaper_ends_no_build_whose_worker_may_still_report(
    timing: Timing, timeout: int
) -> None:
    of_attempt = timers(timing, timeout)

    assert of_attempt.message_expires == timing.queue_ttl
    assert of_attempt.run_limit >= timeout + timing.kill_grace
    assert of_attempt.run_limit + float(ROUNDING) >= (
        timeout + timing.kill_grace + timing.report_window
    )


@pytest.mark.parametrize("name", ["queue_ttl", "kill_grace", "report_window", "leeway"])
@pytest.mark.parametrize("value", [-1.0, math.inf, math.nan])
def test_a_timer_that_orders_nothing_is_refused_by_name(name: str, value: float) -> None:
    good = {"queue_ttl": 600.0, "kill_grace": 10.0, "report_window": 900.0, "leeway": 30.0}

    with pytest.raises(ValueError, match=name):
        Timing(**good | {name: value})


KEY = SigningKey.generate()
ISSUER = "https://api.example.com/"
AUDIENCE = "https://builds.example.com/"


@given(TIMINGS, TIMEOUTS, st.floats(1_600_000_000, 4_000_000_000))
@example(
    Timing(queue_ttl=1.0000000005, kill_grace=0, report_window=0, leeway=0), 1, 1_700_000_000.0
)
async def test_a_minted_token_verifies_at_the_last_report_and_not_for_ever(
    timing: Timing, timeout: int, minted_at: float
) -> None:
    of_attempt = timers(timing, timeout)
    minter = LocalMinter(
        [KEY],
        issuer=ISSUER,
        client_id="baton-api",
        audience=AUDIENCE,
        namespace="https://n/",
        clock=lambda: minted_at,
    )
    minted = await minter.mint(
        MintRequest(user_id="ann", build_id="bld_1", lifetime=of_attempt.token_lifetime)
    )
    last_report = minted_at + DISPATCH_MARGIN + of_attempt.message_expires + of_attempt.run_limit

    def verifier_at(clock: float) -> Verifier:
        policy = Policy(
            audience="https://api.example.com/",
            mint_audience=AUDIENCE,
            namespace="https://n/",
            minting_clients=frozenset({"baton-api"}),
            delegated=frozenset({"update:builds"}),
            leeway=0,  # the sum has to hold by itself
        )
        trusted = TrustedIssuer(
            issuer=ISSUER, keys=minter.key_source(), algorithms=frozenset({KEY.alg})
        )
        return Verifier([trusted], policy, clock=lambda: clock)

    ahead = last_report + timing.leeway - float(ROUNDING)
    assert (await verifier_at(ahead).build(minted.token)).build_id == "bld_1"
    with pytest.raises(InvalidToken, match="expired"):
        await verifier_at(last_report + timing.leeway + 2).build(minted.token)
