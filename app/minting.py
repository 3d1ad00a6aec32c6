"""The seam between what needs build tokens and what obtains them.

Dispatch, in `app.builds`, calls a `TokenMinter`; `app.tokens.minting` has one for each provider.

MintError                 no build token for this job
├── ProviderUnavailable   no answer that counts; try again later
├── ProviderRefused       the provider said no; somebody has to change something
├── UnfitToken            a token came, but does not fit the job; the message says what to change
│   └── TooShort           it does not last as long as this job may; a shorter job's would
└── NoneLeft              the tokens obtained for this job are used up, and no more will come

The messages are for the operator and hold no secret.
"""

from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from app.contract.status import Reason


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildPrincipal:
    """What a build token says: one build of one user; its holder may report on that and no more."""

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
        """Return a token that `Verifier.build` accepts, for this build and user, that lasts.

        Raises `MintError`.
        """
        ...

    async def close(self) -> None:
        """Let go of what the minter opened itself."""
        ...


class MintError(Exception):
    """No build token for this job."""

    reason: ClassVar[Reason] = Reason.TOKEN_REFUSED  #: of the build that waits for it
    others_too: ClassVar[bool] = True  #: whether other builds' tokens would most likely fail, too
    final: ClassVar[bool] = False  #: whether there will never be a token for this build
    retry_after: float | None = None  #: seconds, where the provider named them


class ProviderUnavailable(MintError):
    """The provider did not answer usefully; `retry_after` in seconds, where it said so."""

    reason = Reason.NO_TOKEN

    def __init__(self, detail: str, retry_after: float | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(detail)


class ProviderRefused(MintError):
    """The provider refused to issue a token."""


class UnfitToken(MintError):
    """The provider's token does not fit the job."""


class TooShort(UnfitToken):
    """The provider's token does not last as long as this job may take."""

    others_too = False


class NoneLeft(MintError):
    """The tokens obtained for this job are used up or over, and no more will come."""

    reason = Reason.TOKENS_SPENT
    others_too = False
    final = True
