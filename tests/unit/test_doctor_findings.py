"""What `baton doctor` makes of a clock."""

import time
from email.utils import formatdate

import pytest

from app.contract.doctor import MAX_SKEW, Mark, ahead_by, clock


@pytest.mark.parametrize("ahead", [-120.0, 0.0, 45.0])
def test_a_date_header_says_how_far_its_clock_is_ahead(ahead: float) -> None:
    found = ahead_by(formatdate(time.time() + ahead, usegmt=True))
    assert found == pytest.approx(ahead, abs=1)


@pytest.mark.parametrize("date", [None, "", "yesterday", "Mon, 99 Foo 2026 00:00:00 GMT"])
def test_what_is_no_date_says_nothing(date: str | None) -> None:
    assert ahead_by(date) is None


def test_only_a_clock_that_is_off_by_seconds_is_wrong() -> None:
    assert clock("the store's", MAX_SKEW - 0.1, leeway=30).mark is Mark.OK
    behind = clock("the store's", -MAX_SKEW - 1, leeway=30)
    assert behind.mark is Mark.WRONG
    assert "the store's clock is 4 s behind" in behind.sentence
