"""What can be wrong with tokens.

TokenError                a token that somebody presented; nothing of it is ever echoed
├── InvalidToken          expired, forged, malformed, not for us: 401
│   └── InvalidProof      its holder does not prove that the key it is bound to is theirs: 401
├── WrongKind             a user token where a build token belongs, or the reverse: 403
├── InsufficientScope     valid, but without the right that is needed: 403
└── KeysUnavailable       the issuer's keys cannot be had: 503
KeyFileError              a signing key's file cannot be used; stops the start

Messages of a `TokenError` are fixed sentences in the characters of RFC 6750 §3: no quotes and no
backslash.
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


class KeyFileError(Exception):
    """A signing key's file cannot be used; the message names it and says what to do."""
