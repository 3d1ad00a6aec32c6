"""The table of states, every pair of it."""

from itertools import product

import pytest

from app.builds.lifecycle import TRANSITIONS, encoded
from app.contract.status import FINAL, Status

ALLOWED = {
    ("queued", "running"), ("queued", "cancelled"), ("queued", "errored"), ("running", "queued"),
    ("running", "succeeded"), ("running", "failed"), ("running", "errored"),
    ("running", "timed_out"), ("running", "cancelled"),
}  # fmt: skip


@pytest.mark.parametrize(("before", "after"), list(product(Status, Status)))
def test_a_state_follows_another_only_by_the_table(before: Status, after: Status) -> None:
    assert (after in TRANSITIONS[before]) == ((before, after) in ALLOWED)


def test_a_final_state_stays() -> None:
    assert all(not TRANSITIONS[status] for status in FINAL)


def test_the_scripts_are_given_the_same_table() -> None:
    assert {tuple(word.split(">")) for word in encoded().split()} == ALLOWED
