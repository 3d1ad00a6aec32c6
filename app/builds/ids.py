"""Ids of builds: `bld_` and a ULID, which sorts by creation time (to the millisecond)."""

import re
import secrets
import time
from typing import Final

#: Crockford's base 32: no I, L, O, U.
_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

PATTERN: Final = re.compile(r"bld_[0-7][0-9A-HJKMNP-TV-Z]{25}\Z")


def new_build_id() -> str:
    """48 bits of milliseconds since 1970 and 80 random bits: `bld_` + 26 characters."""
    value = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    return "bld_" + "".join(_ALPHABET[value >> shift & 31] for shift in range(125, -1, -5))
