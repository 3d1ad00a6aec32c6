"""A build's id is `bld_` and a ULID, which sorts by creation time."""

import re
import secrets
import time
from typing import Final

#: Crockford's base 32: no I, L, O, U, and the digits in the order of their values.
_DIGITS: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS: Final = [first + second for first in _DIGITS for second in _DIGITS]
_RANDOM_BITS: Final = 80

PATTERN: Final = re.compile(r"bld_[0-7][0-9A-HJKMNP-TV-Z]{25}\Z")


class BuildIds:
    """`BuildIds` makes ids; those of one process rise strictly, even within a millisecond."""

    def __init__(self) -> None:
        self._last = 0

    def new(self) -> str:
        """Return `bld_` and 26 characters: 48 bits of milliseconds since 1970, 80 random bits."""
        fresh = (time.time_ns() // 1_000_000) << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS)
        # ULID's monotonic factory: within a millisecond, the last id plus a random increment.
        if fresh >> _RANDOM_BITS <= self._last >> _RANDOM_BITS:
            fresh = self._last + 1 + secrets.randbits(32)
        self._last = fresh
        # 26 digits of 5 bits are 13 pairs of 10; the first two bits of 130 are zero.
        return "bld_" + "".join([_PAIRS[fresh >> shift & 1023] for shift in range(120, -1, -10)])
