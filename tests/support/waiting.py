"""Waiting for something, with an end."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(what: str, found: Callable[[], T], *, seconds: float = 30, every: float = 0.05) -> T:
    """The first true value of `found`; fails, naming `what`, when there is none in time."""
    end = time.monotonic() + seconds
    while True:
        value = found()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds:g} s in vain until {what}; last seen: {value!r}")
        time.sleep(every)
