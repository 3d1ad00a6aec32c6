"""`Prefer: wait=N`, read as RFC 7240 has it."""

import pytest

from app.contract import prefer


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("wait=10", 10),
        ("WAIT = 10", 10),
        ('wait="10"', 10),
        ("respond-async, wait=10", 10),
        ("wait=10; why=orders, respond-async", 10),
        ("wait=10, wait=20", 10),  # §2: only the first one counts
        ("wait=0", 0),
        ("", 0),
        ("respond-async", 0),
        ("wait", 0),
        ("wait=", 0),
        ("wait=-1", 0),
        ("wait=1.5", 0),
        ("wait=1e3", 0),
        ("wait=" + "9" * 4000, 0),
        ('wait="10', 0),
        ("await=10", 0),
        ("wait=\u0661\u0660", 0),
    ],
)
def test_the_seconds_of_a_preference(value: str, seconds: int) -> None:
    assert prefer.parse_wait(value) == seconds


def test_what_is_written_is_read() -> None:
    assert prefer.parse_wait(prefer.format_wait(17)) == 17
