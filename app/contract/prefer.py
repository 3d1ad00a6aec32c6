"""`Prefer: wait=N` says for how many seconds the API may hold a heartbeat (RFC 7240 §4.3)."""

import re
from typing import Final

PREFER: Final = "Prefer"
PREFERENCE_APPLIED: Final = "Preference-Applied"

_WAIT: Final = re.compile(
    r"(?:\A|,)[ \t]*wait[ \t]*=[ \t]*(\"?)(\d{1,9})\1[ \t]*(?:[,;]|\Z)", re.ASCII | re.IGNORECASE
)


def format_wait(seconds: int) -> str:
    """Return the value of `Prefer` or `Preference-Applied`."""
    return f"wait={seconds}"


def parse_wait(value: str) -> int:
    """Return the seconds that the value of either header names; 0 when it names none.

    The first `wait` counts, and one that cannot be read is no preference (§2).
    """
    found = _WAIT.search(value)
    return int(found[2]) if found else 0
