"""Where build tokens come from: the seam, and one file per provider that fills it."""

from dataclasses import dataclass, field
from typing import Protocol

from app.tokens.claims import BuildPrincipal


@dataclass(frozen=True, kw_only=True, slots=True)
class MintRequest:
    """A token wanted for one build of one user, good for at least `lifetime` seconds from now."""

    user_id: str
    build_id: str
    lifetime: float


@dataclass(frozen=True, kw_only=True, slots=True)
class MintedToken:
    """A build token, and what it says: read back from the token itself, not from the request."""

    token: str = field(repr=False)
    facts: BuildPrincipal


class TokenMinter(Protocol):
    """A provider of build tokens.

    `mint` may be called from any number of tasks at once, and again after it raised; every call
    obtains a new token. A caller that goes away ends its call. `close` comes last, once.
    """

    async def mint(self, request: MintRequest) -> MintedToken:
        """A token that `Verifier.build` accepts, for this build and user, that lasts.

        Raises `ProviderUnavailable` (try later), `ProviderRefused` or `UnfitToken` (somebody has
        to change something; the message says what).
        """
        ...

    async def close(self) -> None:
        """Let go of what the minter opened itself."""
        ...
