"""`Finding` is one line of the report of `baton doctor`, made by the API's side or by a worker."""

import time
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Final, Self

from pydantic import BaseModel, ConfigDict

#: Seconds by which two clocks may differ before the report says so. NTP keeps clocks right to some
#: milliseconds; a `Date` header has whole seconds.
MAX_SKEW: Final = 3.0


class Mark(StrEnum):
    OK = "ok"
    WRONG = "wrong"
    UNTRIED = "untried"  #: it could not be checked; nothing is known to be wrong


class Finding(BaseModel):
    """A line of the report says what was looked at, what is so, and what to do about it."""

    model_config = ConfigDict(frozen=True)

    check: str  #: what was looked at, in a word or two
    mark: Mark
    sentence: str  #: what was found
    advice: str | None = None  #: what the operator should do

    @classmethod
    def ok(cls, check: str, sentence: str) -> Self:
        return cls(check=check, mark=Mark.OK, sentence=sentence)

    @classmethod
    def wrong(cls, check: str, sentence: str, advice: str | None = None) -> Self:
        return cls(check=check, mark=Mark.WRONG, sentence=sentence, advice=advice)

    @classmethod
    def untried(cls, check: str, sentence: str, advice: str | None = None) -> Self:
        return cls(check=check, mark=Mark.UNTRIED, sentence=sentence, advice=advice)


def clock(whose: str, ahead: float, *, leeway: float) -> Finding:
    """Judge a clock that is `ahead` seconds ahead of ours; `leeway` is BATON_LEEWAY, in seconds."""
    check = "clocks"
    if abs(ahead) <= MAX_SKEW:
        return Finding.ok(check, f"{whose} clock agrees with this machine's")
    way = "ahead of" if ahead > 0 else "behind"
    return Finding.wrong(
        check,
        f"{whose} clock is {abs(ahead):.0f} s {way} this machine's; tokens bear {leeway:g} s "
        "(BATON_LEEWAY)",
        "let NTP keep the clocks of all machines (timedatectl, chronyc tracking)",
    )


def ahead_by(date: str | None) -> float | None:
    """Return how many seconds ahead of ours the clock is that wrote a `Date` header just now.

    None stands for a missing or unreadable header (RFC 9110 §6.6.1).
    """
    try:
        # The header was cut to whole seconds; the middle of the second is the best guess.
        return parsedate_to_datetime(date or "").timestamp() + 0.5 - time.time()
    except ValueError:
        return None
