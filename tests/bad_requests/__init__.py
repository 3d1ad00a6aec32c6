"""Requests that no client should send, each with the refusal that it gets.

`{build}` in a path and `{lease}` in a header stand for those of a running build.
"""

from dataclasses import dataclass, field
from typing import Final, Literal

Token = Literal["user", "build"] | None


@dataclass(frozen=True, kw_only=True)
class Bad:
    """A request, with a good token (or none), and the status and problem code that answer it."""

    method: str = "GET"
    path: str = "/builds"
    headers: tuple[tuple[str, str | bytes], ...] = ()
    body: bytes | None = None
    token: Token = "user"
    expected: tuple[int, str] = (400, "bad-request")
    says: str = ""  #: a part of the answer's detail or of its errors
    more: dict[str, str] = field(default_factory=dict)  #: headers that the answer must have


BUILD: Final = "/builds/{build}"
JSON: Final = (("Content-Type", "application/json"),)
LEASE: Final = (("Baton-Lease", "{lease}"),)
