"""`Prefer: wait=N` (RFC 7240 §4.3): for how many seconds a heartbeat may be held."""

import re
from typing import Final

PREFER: Final = "Prefer"
PREFERENCE_APPLIED: Final = "Preference-Applied"

_WAIT: Final = re.compile(
    r"(?:\A|,)[ \t]*wait[ \t]*=[ \t]*(\"?)(\d{1,9})\1[ \t]*(?:[,;]|\Z)", re.ASCII | re.IGNORECASE
)


def written(seconds: int) -> str:
    """The value of either header."""
    return f"wait={seconds}"


def seconds(value: str) -> int:
    """The seconds that a value of either header names, the first ones; 0 where it names none. What
    cannot be read is no preference (§2)."""
    found = _WAIT.search(value)
    return int(found[2]) if found else 0
