"""Ids of builds: `bld_` and a ULID, which sorts by creation time."""

import re
import secrets
import time
from typing import Final

#: Crockford's digits: no I, L, O, U, and in the order of their values.
_DIGITS: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS: Final = [first + second for first in _DIGITS for second in _DIGITS]
_RANDOM_BITS: Final = 80

PATTERN: Final = re.compile(r"bld_[0-7][0-9A-HJKMNP-TV-Z]{25}\Z")


class BuildIds:
    """Makes ids; those of one process rise strictly, even within a millisecond."""

    def __init__(self) -> None:
        self._last = 0

    def new(self) -> str:
        """48 bits of milliseconds since 1970 and 80 random bits: `bld_` + 26 characters."""
        fresh = (time.time_ns() // 1_000_000) << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS)
        # As ULID's monotonic factory: within a millisecond the last id plus a random step.
        if fresh >> _RANDOM_BITS <= self._last >> _RANDOM_BITS:
            fresh = self._last + 1 + secrets.randbits(32)
        self._last = fresh
        # 26 digits of 5 bits are 13 pairs of 10; the first two bits of 130 are zero.
        return "bld_" + "".join([_PAIRS[fresh >> shift & 1023] for shift in range(120, -1, -10)])
