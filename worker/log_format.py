"""How the worker's log lines look: without any token."""

import logging
import re
from typing import Final

#: A JSON Web Token, or the beginning of one: base64url of `{"`, then the rest (RFC 7515 §3.1).
_TOKEN: Final = re.compile(r"eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)*")


class WithoutTokens(logging.Formatter):
    """Puts `[token]` where a token would stand, tracebacks included.

    We log none. But Celery prints a message that it cannot read, or whose task it does not know,
    with all its headers, and at ERROR.
    """

    def format(self, record: logging.LogRecord) -> str:
        return _TOKEN.sub("[token]", super().format(record))
