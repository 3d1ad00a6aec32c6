"""A setting gives a rate as text, such as `600/minute`."""

import re
from typing import Final

from limits import RateLimitItem, parse

_RATE: Final = re.compile(r"[1-9]\d{0,8}/(second|minute|hour|day)", re.ASCII)


def parse_rate(text: str) -> RateLimitItem | None:
    """Return the rate that `text` names.

    `600/minute` (or second, hour, day); None for `0`, which is no limit. Raises `ValueError`.
    """
    if text == "0":
        return None
    if not _RATE.fullmatch(text):
        raise ValueError("must be like 600/minute (or second, hour, day), or 0 for no limit")
    return parse(text)
