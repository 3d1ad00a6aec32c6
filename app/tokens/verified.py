"""Tokens whose signature was verified a moment ago, so that it need not be verified again.

A worker sends one token with each of its calls, an SPA one for an hour. What is kept is what the
signature and the claims by themselves say. Whether the token is still good, and for what, is asked
anew each time: its end, the key's being among its issuer's, and all that depends on the call.
"""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from app.tokens.claims import MAX_TOKEN, Claims
from app.tokens.keys import KeySource, VerificationKey

#: Tokens that one process keeps: some 3 KB each, 30 KB for the largest that there are.
MAX_CACHED_TOKENS: Final = 4096


@dataclass(frozen=True, kw_only=True, slots=True)
class VerifiedToken:
    """A token that `key` has signed; its times are as exact as it says them."""

    claims: Claims
    not_before: float  #: the later of `iat` and `nbf`
    expires_at: float
    key: VerificationKey
    kid: str | None  #: how the token's header names it
    keys: KeySource  #: of its issuer, which `key` came from

    async def key_stands(self) -> bool:
        """Whether its issuer's key of that name is this one still, and not one that came later.

        Raises what `KeySource.key` raises: `InvalidToken` once there is none of that name.
        """
        return await self.keys.key(self.kid, self.key.algorithm) is self.key


class VerifiedTokens:
    """The tokens that were used last, by their SHA-256: the tokens themselves are not kept.

    A token is found by all of its characters: one with another signature, or with another spelling
    of this one, is another token.
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
    """Empty for what is no token at all, whose characters may have no bytes."""
    if len(raw) > MAX_TOKEN or not raw.isascii():
        return b""
    return hashlib.sha256(raw.encode("ascii")).digest()
