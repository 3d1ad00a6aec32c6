"""The claims of tokens before and after verification, and the two kinds of principal that they
name.

The parser closes what JWT libraries leave open: duplicate names, encodings other than UTF-8,
padding, second spellings of one token, sizes, and numbers out of range.
"""

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NewType, Self

from app.minting import BuildPrincipal
from app.tokens.errors import InvalidToken
from app.tokens.strict_json import parse_object

#: Characters of the longest token that is parsed; longer junk would cost milliseconds.
MAX_TOKEN: Final = 8 * 1024
#: Characters of the largest identifier (`sub`, client and key ids, custom claims).
MAX_IDENTIFIER: Final = 512
_MAX_AUDIENCES: Final = 32
#: The largest NumericDate (RFC 7519 §2) that is accepted: the end of the year 9999.
_MAX_TIME: Final = 253_402_300_799

#: The compact serialization of RFC 7515 §7.1, and nothing else: no padding, no white space, no
#: empty signature. Five segments would be an encrypted token (RFC 7516), which is not supported.
_COMPACT: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")

_SCOPE: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")  #: RFC 6749 §3.3

UnverifiedHeader = NewType("UnverifiedHeader", Mapping[str, Any])
UnverifiedPayload = NewType("UnverifiedPayload", Mapping[str, Any])


@dataclass(frozen=True, kw_only=True, slots=True)
class UnverifiedToken:
    """A token that is well-formed; nothing in it may be trusted yet."""

    unverified_header: UnverifiedHeader = field(repr=False)
    unverified_payload: UnverifiedPayload = field(repr=False)
    signing_input: bytes = field(repr=False)
    signature: bytes = field(repr=False)
    token_id: str  #: SHA-256 of the signed part; a signature itself may have several encodings

    @classmethod
    def parse(cls, raw: str) -> Self:
        """Parse a compact JWS of two JSON objects. Raises `InvalidToken` for anything else."""
        if len(raw) > MAX_TOKEN:
            raise InvalidToken("the token is too long")
        if not _COMPACT.fullmatch(raw):
            raise InvalidToken("the token is not a signed JWT")
        signed, _, signature = raw.rpartition(".")
        header, _, payload = signed.partition(".")
        signing_input = signed.encode("ascii")
        try:
            return cls(
                unverified_header=UnverifiedHeader(parse_object(_decode(header))),
                unverified_payload=UnverifiedPayload(parse_object(_decode(payload))),
                signing_input=signing_input,
                signature=_decode(signature),
                token_id=encode(hashlib.sha256(signing_input).digest()),
            )
        except ValueError:
            raise InvalidToken("the token is not a signed JWT") from None


def encode(raw: bytes) -> str:
    """Return base64url without padding (RFC 7515 §2)."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def _decode(segment: str) -> bytes:
    """Undo `encode`; raise `ValueError` for any other encoding of the same bytes."""
    raw = segment.encode("ascii")
    decoded = base64.urlsafe_b64decode(raw + b"=" * (-len(raw) % 4))
    if base64.urlsafe_b64encode(decoded).rstrip(b"=") != raw:
        raise ValueError("bits are left over")
    return decoded


@dataclass(frozen=True, kw_only=True, slots=True)
class Claims:
    """The claims of a verified token, of either kind."""

    issuer: str
    subject: str
    audiences: tuple[str, ...]
    scopes: frozenset[str]
    client_id: str  #: `client_id` (RFC 9068), `azp` (Auth0)
    issued_at: int  #: seconds since 1970
    expires_at: int  #: seconds since 1970
    token_id: str
    bound_to: str | None  #: thumbprint of the key whose holder alone may use it (RFC 9449 §6.1)
    extra: Mapping[str, Any] = field(repr=False)  #: all claims, as they came


@dataclass(frozen=True, kw_only=True, slots=True)
class UserPrincipal:
    """A user, who acts through the application `client_id`."""

    user_id: str
    scopes: frozenset[str]
    client_id: str
    expires_at: int  #: seconds since 1970


def build_principal(claims: Claims, *, user_id: str, build_id: str) -> BuildPrincipal:
    """Return the principal of a token that has one audience and the scope of build tokens."""
    (audience,) = claims.audiences
    return BuildPrincipal(
        user_id=user_id,
        build_id=build_id,
        client_id=claims.client_id,
        issuer=claims.issuer,
        audience=audience,
        scope=" ".join(sorted(claims.scopes)),
        issued_at=claims.issued_at,
        expires_at=claims.expires_at,
        token_id=claims.token_id,
    )


def identifier(payload: Mapping[str, Any], name: str) -> str:
    """Return a claim that must be a short string of printable characters, as it goes into keys and
    logs.

    Raises `InvalidToken`.
    """
    value = payload.get(name)
    if (
        not isinstance(value, str)
        or not 0 < len(value) <= MAX_IDENTIFIER
        or not value.isprintable()
    ):
        raise InvalidToken(f"the claim {name} is missing or not usable")
    return value


def numeric_date(payload: Mapping[str, Any], name: str) -> float:
    """Return a claim that must be a NumericDate (RFC 7519 §2), in seconds since 1970.

    Raises `InvalidToken`, for a string or a Boolean too.
    """
    value = payload.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _MAX_TIME:
        raise InvalidToken(f"the claim {name} is missing or not a time")
    return value


def audiences(payload: Mapping[str, Any]) -> tuple[str, ...]:
    """Return `aud`, which is a string or a list of strings (RFC 7519 §4.1.3). Raises
    `InvalidToken`."""
    value = payload.get("aud")
    found = [value] if isinstance(value, str) else value
    if not isinstance(found, list) or not 0 < len(found) <= _MAX_AUDIENCES:
        raise InvalidToken("the claim aud is missing or not usable")
    if not all(isinstance(audience, str) and audience for audience in found):
        raise InvalidToken("the claim aud is missing or not usable")
    return tuple(found)


def scope_list(payload: Mapping[str, Any]) -> frozenset[str]:
    """Return Okta's `scp`, a list of scopes; none if it is absent. Raises `InvalidToken`."""
    value = payload.get("scp", [])
    if not isinstance(value, list) or not all(
        isinstance(word, str) and _SCOPE.fullmatch(word) for word in value
    ):
        raise InvalidToken("the claim scp is not usable")
    return frozenset(value)


def scopes(payload: Mapping[str, Any]) -> frozenset[str]:
    """Return `scope`, a string of scopes between spaces (RFC 6749 §3.3); none if it is absent.

    Neither a list nor another claim like `permissions` adds any. Raises `InvalidToken`.
    """
    value = payload.get("scope", "")
    if not isinstance(value, str):
        raise InvalidToken("the claim scope is not usable")
    found = frozenset(value.split(" ")) - {""}
    if not all(_SCOPE.fullmatch(word) for word in found):
        raise InvalidToken("the claim scope is not usable")
    return found
