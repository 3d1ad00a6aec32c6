"""Names a server without the secrets in its URL, and a failure to reach it."""

from urllib.parse import urlsplit

import httpx


def redact_url(url: str) -> str:
    """Return the host and port of a URL, or the path of a socket.

    `redis://:secret@host:6379/0?x=y` → `host:6379`.
    """
    parts = urlsplit(url)
    return parts.netloc.rpartition("@")[2] or parts.path


def failure(error: Exception) -> str:
    """Return the kind of a failure to connect, and its message."""
    if isinstance(error, httpx.TimeoutException):
        return "it did not answer in time"
    words = str(error).strip()
    if type(error) is ValueError:  # our own sentence
        return words
    return f"{type(error).__name__}: {words}" if words else type(error).__name__
