"""What `baton doctor` finds, on the server's side and on a worker's."""

import time
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Final, Self

from pydantic import BaseModel, ConfigDict

#: Seconds by which a clock may be wrong before it is worth a word. One that is kept by NTP is right
#: to some milliseconds; a `Date` header has whole seconds.
MOST_SKEW: Final = 3.0


class Mark(StrEnum):
    OK = "ok"
    WRONG = "wrong"
    UNTRIED = "untried"  #: nothing is known to be wrong


class Finding(BaseModel):
    """One line of the report."""

    model_config = ConfigDict(frozen=True)

    check: str  #: what was looked at, in a word or two
    mark: Mark
    sentence: str  #: what is so
    advice: str | None = None  #: what to do about it

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
    """What it means that a clock is so many seconds ahead of ours; `leeway` is the setting."""
    check = "clocks"
    if abs(ahead) <= MOST_SKEW:
        return Finding.ok(check, f"{whose} clock agrees with this machine's")
    way = "ahead of" if ahead > 0 else "behind"
    return Finding.wrong(
        check,
        f"{whose} clock is {abs(ahead):.0f} s {way} this machine's; tokens bear {leeway:g} s "
        "(BATON_LEEWAY)",
        "let NTP keep the clocks of all machines (timedatectl, chronyc tracking)",
    )


def ahead_by(date: str | None) -> float | None:
    """By how many seconds the clock is ahead that wrote a `Date` header (RFC 9110 §6.6.1) just now;
    None for what is none."""
    try:
        # It was cut to whole seconds; the middle of the second is the best guess.
        return parsedate_to_datetime(date or "").timestamp() + 0.5 - time.time()
    except ValueError:
        return None
