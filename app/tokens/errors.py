"""What can be wrong with tokens.

TokenError                a token that somebody presented; nothing of it is ever echoed
├── InvalidToken          expired, forged, malformed, not for us: 401
│   └── InvalidProof      its holder does not prove that the key it is bound to is theirs: 401
├── WrongKind             a user token where a build token belongs, or the reverse: 403
├── InsufficientScope     valid, but without the right that is needed: 403
└── KeysUnavailable       the issuer's keys cannot be had: 503
MintError                 a token that we wanted
├── ProviderUnavailable   no answer that counts; try again later
├── ProviderRefused       the provider said no; somebody has to change something
├── UnfitToken            a token came, but does not fit the job; the message says what to change
│   └── TooShort           it does not last as long as this job may; a shorter job's would
└── NoneLeft              the tokens obtained for this job are used up, and no more will come
KeyFileError              a signing key's file cannot be used; stops the start

Messages of a `TokenError` are fixed sentences in the characters of RFC 6750 §3: no quotes and no
backslash. Those of a `MintError` are for the operator and hold no secret.
"""


class TokenError(Exception):
    """A presented token does not open this door."""


class InvalidToken(TokenError):
    """The token is not valid here (RFC 6750 §3.1 `invalid_token`)."""


class InvalidProof(InvalidToken):
    """The proof of possession does not do (RFC 9449 §7.1 `invalid_dpop_proof`)."""


class WrongKind(TokenError):
    """The token is valid, but of the kind that this call is not for."""


class InsufficientScope(TokenError):
    """The token lacks a right (RFC 6750 §3.1 `insufficient_scope`)."""

    def __init__(self, needed: frozenset[str], detail: str) -> None:
        self.needed = needed
        super().__init__(detail)


class KeysUnavailable(TokenError):
    """The issuer's keys cannot be had now; `retry_after` in seconds."""

    def __init__(self, retry_after: float) -> None:
        self.retry_after = retry_after
        super().__init__("the issuer's keys cannot be had at the moment")


class MintError(Exception):
    """No build token for this job."""


class ProviderUnavailable(MintError):
    """The provider did not answer usefully; `retry_after` in seconds, where it said so."""

    def __init__(self, detail: str, retry_after: float | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(detail)


class ProviderRefused(MintError):
    """The provider refused to issue a token."""


class UnfitToken(MintError):
    """The provider's token does not fit the job."""


class TooShort(UnfitToken):
    """The provider's token does not last as long as this job may take."""


class NoneLeft(MintError):
    """The tokens obtained for this job are used up or over, and no more will come."""


class KeyFileError(Exception):
    """A signing key's file cannot be used; the message names it and says what to do."""
