"""Naming a server without the secrets in its URL, and saying failure it did not answer."""

from urllib.parse import urlsplit

import httpx


def redact_url(url: str) -> str:
    """`redis://:secret@host:6379/0?x=y` → `host:6379`; the path of a socket."""
    parts = urlsplit(url)
    return parts.netloc.rpartition("@")[2] or parts.path


def failure(error: Exception) -> str:
    """The kind of a failure to connect, and its own words."""
    if isinstance(error, httpx.TimeoutException):
        return "it did not answer in time"
    words = str(error).strip()
    if type(error) is ValueError:  # our own sentence
        return words
    return f"{type(error).__name__}: {words}" if words else type(error).__name__
