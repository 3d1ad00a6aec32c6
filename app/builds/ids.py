"""Ids of builds: `bld_` and a ULID, which sorts by creation time."""

import base64
import re
import secrets
import time
from typing import Final

#: From the digits of RFC 4648 §6 to Crockford's: no I, L, O, U, and in the order of their values.
_CROCKFORD: Final = bytes.maketrans(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", b"0123456789ABCDEFGHJKMNPQRSTVWXYZ"
)
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
        # 128 bits are 26 digits of 5 bits with two zero bits in front; b32encode takes whole bytes.
        digits = base64.b32encode((fresh << 6).to_bytes(17, "big"))[:26]
        return "bld_" + digits.translate(_CROCKFORD).decode()
