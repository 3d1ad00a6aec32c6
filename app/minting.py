"""A `TokenMinter` obtains build tokens; this module is the seam between dispatch and providers.

The dispatcher, in `app.builds`, calls it; `app.tokens.minting` has one for each provider.

MintError                 there is no build token for this build
├── ProviderUnavailable   the provider gave no useful response; a later try may succeed
├── ProviderRefused       the provider refused; the operator has to change something
├── UnfitToken            the token does not fit the build; the message says what to change
│   └── TooShort           it does not last as long as the build may take; a shorter one's would
└── NoneLeft              the tokens obtained for this build are used up, and no more will come

The messages are for the operator and hold no secret.
"""

from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from app.contract.status import Reason


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildPrincipal:
    """A build token names one build of one user; its holder may report that build and no more."""

    user_id: str
    build_id: str
    client_id: str
    issuer: str
    audience: str
    scope: str
    issued_at: int  #: seconds since 1970
    expires_at: int  #: seconds since 1970
    token_id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class MintRequest:
    """A `MintRequest` asks for a token for one build, valid for at least `lifetime` seconds."""

    user_id: str
    build_id: str
    lifetime: float


@dataclass(frozen=True, kw_only=True, slots=True)
class MintedToken:
    """A build token comes with its facts, which are read from it and not from the request."""

    token: str = field(repr=False)
    facts: BuildPrincipal


class TokenMinter(Protocol):
    """A `TokenMinter` gets build tokens from one kind of provider.

    `mint` may be called from any number of tasks at once, and again after it raised; every call
    obtains a new token. Cancelling the caller ends its call. `close` comes last, once.
    """

    async def mint(self, request: MintRequest) -> MintedToken:
        """Return a token for this build and user that `Verifier.build` accepts and that lasts.

        Raises `MintError`.
        """
        ...

    async def close(self) -> None:
        """Close the connections that the minter opened itself."""
        ...


class MintError(Exception):
    """There is no build token for this build."""

    reason: ClassVar[Reason] = Reason.TOKEN_REFUSED  #: the reason on the record of the build
    others_too: ClassVar[bool] = True  #: whether mints for other builds would most likely fail, too
    final: ClassVar[bool] = False  #: whether there will never be a token for this build
    retry_after: float | None = None  #: seconds, where the provider named them


class ProviderUnavailable(MintError):
    """The provider gave no useful response; `retry_after` is in seconds, where it named them."""

    reason = Reason.NO_TOKEN

    def __init__(self, detail: str, retry_after: float | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(detail)


class ProviderRefused(MintError):
    """The provider refused to issue a token."""


class UnfitToken(MintError):
    """The provider's token does not fit the build."""


class TooShort(UnfitToken):
    """The provider's token does not last as long as the build may take."""

    others_too = False


class NoneLeft(MintError):
    """The tokens obtained for this build are used up or expired, and no more will come."""

    reason = Reason.TOKENS_SPENT
    others_too = False
    final = True
