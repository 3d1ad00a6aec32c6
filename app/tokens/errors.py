"""The errors of tokens that were presented, and of key files.

TokenError                a client presented the token; no message ever repeats any of it
├── InvalidToken          expired, forged, malformed, or for another audience: 401
│   └── InvalidProof      the DPoP proof does not prove possession of the token's key: 401
├── WrongKind             a user token where a build token belongs, or the reverse: 403
├── InsufficientScope     valid, but without the scope that is needed: 403
└── KeysUnavailable       the issuer's keys cannot be fetched: 503
KeyFileError              a signing key's file cannot be used; stops the start

Messages of a `TokenError` are fixed sentences in the characters of RFC 6750 §3: no quotes and no
backslash.
"""


class TokenError(Exception):
    """A presented token does not authorize the call."""


class InvalidToken(TokenError):
    """The token is not valid here (RFC 6750 §3.1 `invalid_token`)."""


class InvalidProof(InvalidToken):
    """The DPoP proof is not valid (RFC 9449 §7.1 `invalid_dpop_proof`)."""


class WrongKind(TokenError):
    """The token is valid, but of the other kind: a user token for a build token, or the reverse."""


class InsufficientScope(TokenError):
    """The token lacks one of the scopes `needed` (RFC 6750 §3.1 `insufficient_scope`)."""

    def __init__(self, needed: frozenset[str], detail: str) -> None:
        self.needed = needed
        super().__init__(detail)


class KeysUnavailable(TokenError):
    """The issuer's keys cannot be fetched now; try again after `retry_after` seconds."""

    def __init__(self, retry_after: float) -> None:
        self.retry_after = retry_after
        super().__init__("the issuer's keys cannot be had at the moment")


class KeyFileError(Exception):
    """A signing key's file cannot be used; the message names it and says what to do."""
