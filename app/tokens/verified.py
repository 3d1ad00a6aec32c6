"""The cache of verified tokens saves the signature check of a token that is used again.

A worker sends one token with each of its calls, an SPA one for an hour. The cache holds what
follows from the token alone. All else is checked at each use: whether the token has expired,
whether its key is still among its issuer's, and what depends on the call.
"""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from app.tokens.claims import MAX_TOKEN, Claims
from app.tokens.keys import KeySource, VerificationKey

#: Tokens that one process caches: some 3 KB each, 30 KB for the largest that are accepted.
MAX_CACHED_TOKENS: Final = 4096


@dataclass(frozen=True, kw_only=True, slots=True)
class VerifiedToken:
    """A token whose signature `key` has verified; its times keep their fractions of a second."""

    claims: Claims
    not_before: float  #: the later of `iat` and `nbf`, in seconds since 1970
    expires_at: float  #: seconds since 1970
    key: VerificationKey
    kid: str | None  #: the key's id in the token's header
    keys: KeySource  #: of the token's issuer

    async def key_stands(self) -> bool:
        """Return whether the issuer still publishes the very key that verified this token.

        Raises what `KeySource.key` raises: `InvalidToken` once the issuer has no key of that id.
        """
        return await self.keys.key(self.kid, self.key.algorithm) is self.key


class VerifiedTokens:
    """A least-recently-used cache of tokens by their SHA-256; the tokens themselves are not kept.

    The whole token is hashed: with another signature, or another encoding of the same one, it is
    another token.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._by_digest: OrderedDict[bytes, VerifiedToken] = OrderedDict()

    def find(self, raw: str) -> VerifiedToken | None:
        digest = _digest(raw)
        found = self._by_digest.get(digest) if digest else None
        if found is not None:
            self._by_digest.move_to_end(digest)
        return found

    def keep(self, raw: str, token: VerifiedToken) -> None:
        self._by_digest[_digest(raw)] = token
        if len(self._by_digest) > self._most:
            self._by_digest.popitem(last=False)

    def drop(self, raw: str) -> None:
        self._by_digest.pop(_digest(raw), None)


def _digest(raw: str) -> bytes:
    """Return the SHA-256 of a token; empty for what cannot be one, and may not even encode to
    bytes."""
    if len(raw) > MAX_TOKEN or not raw.isascii():
        return b""
    return hashlib.sha256(raw.encode("ascii")).digest()
