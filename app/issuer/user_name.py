"""A user name, as people type it, and the user id that it stands for."""

import re
from dataclasses import dataclass
from typing import Final, Self

#: The message for anything else.
RULE: Final = "A user name has 1 to 64 letters, digits, or any of . _ @ -"

#: A bare name, or a whole user id as an identity provider would make it.
_TYPED: Final = re.compile(r"((?:[\w-]{1,64}\|){1,2})?([\w.@-]{1,64})\Z", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True)
class User:
    """A user of the issuer, where anyone may be anyone."""

    user_id: str  #: `sub`, like auth0|ann
    name: str

    @classmethod
    def of(cls, typed: str) -> Self | None:
        """Return the user of a typed name; None if it is no user name."""
        found = _TYPED.match(typed.strip())
        return cls(user_id=(found[1] or "auth0|") + found[2], name=found[2]) if found else None
