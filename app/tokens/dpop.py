"""The proof checker makes all checks of a DPoP proof that RFC 9449 §4.3 lists."""

import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from app.contract.dpop import ALGORITHM, TYPE, thumbprint, token_hash
from app.tokens.claims import UnverifiedHeader, UnverifiedToken, identifier, numeric_date
from app.tokens.errors import InvalidProof, InvalidToken
from app.tokens.keys import VerificationKey, verification_key

#: Seconds before and after now in which a proof may be issued: clocks differ, requests take time.
_PROOF_LIFETIME: Final = 60.0

#: Seconds for which a proof's `jti` is stored: until the proof is too old to be accepted again.
_REPLAY_WINDOW: Final = 2 * _PROOF_LIFETIME + 1

#: Marks a name as used for so many seconds; returns False if any replica had done so already.
FirstUse = Callable[[str, float], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Proof:
    """A proof that is valid, except that it may have been used before."""

    jkt: str  #: RFC 7638 thumbprint of the key that signed it
    jti: str


class ProofChecker:
    """The proof checker verifies DPoP proofs. Safe to call from any number of tasks at once."""

    def __init__(
        self,
        urls: Iterable[str],
        first_use: FirstUse,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`urls`: where clients and workers reach the API. `htu` is compared with these, and not
        with `Host`, which the thief of a proof can choose."""
        self._bases = frozenset(_normal(url.rstrip("/")) for url in urls)
        self._first_use = first_use
        self._clock = clock

    def check(self, raw: str, *, method: str, path: str, token: str) -> Proof:
        """Verify a proof; the caller verifies the token next, and then calls `use`.

        `path` is the request's, below the API's URL; `token` is the access token beside the proof.
        Raises `InvalidProof`.
        """
        try:
            unverified = UnverifiedToken.parse(raw)
            key, jkt = _key(unverified.unverified_header)
            if not key.verify(unverified.signing_input, unverified.signature):
                raise InvalidProof("the DPoP proof's signature is wrong")
            claims = unverified.unverified_payload
            jti = identifier(claims, "jti")
            made_at = numeric_date(claims, "iat")
        except InvalidToken as error:
            raise InvalidProof(f"the DPoP proof cannot be used: {error}") from None
        if abs(self._clock() - made_at) > _PROOF_LIFETIME:
            raise InvalidProof("the DPoP proof is too old or from the future: see to the clocks")
        if claims.get("htm") != method:
            raise InvalidProof("the DPoP proof is for another method")
        if not self._is_here(claims.get("htu"), path):
            raise InvalidProof("the DPoP proof is for another URL than this API's")
        if claims.get("ath") != token_hash(token):
            raise InvalidProof("the DPoP proof is for another token")
        return Proof(jkt, jti)

    async def use(self, proof: Proof) -> None:
        """Use the proof up: only the holder of a valid token may make the API store anything
        (§11.1).

        Raises `InvalidProof` when the proof was used before, and what `first_use` raises.
        """
        if not await self._first_use(f"{proof.jkt}:{proof.jti}", _REPLAY_WINDOW):
            raise InvalidProof("the DPoP proof was used before")

    def _is_here(self, url: object, path: str) -> bool:
        if not isinstance(url, str):
            return False
        try:
            named = _normal(url)
        except ValueError:
            return False
        return any(named == base + path for base in self._bases)


def _key(unverified: UnverifiedHeader) -> tuple[VerificationKey, str]:
    """Return the key in a proof's header, and its thumbprint. Raises `InvalidProof`."""
    jwk: Any = unverified.get("jwk")
    if unverified.get("typ") != TYPE:
        raise InvalidProof("the DPoP proof's typ is not dpop+jwt")
    if unverified.get("alg") != ALGORITHM:
        raise InvalidProof(f"the DPoP proof's algorithm is not {ALGORITHM}")
    if "crit" in unverified or "b64" in unverified:
        raise InvalidProof("the DPoP proof demands extensions that are not understood")
    key = verification_key(jwk, frozenset({ALGORITHM})) if isinstance(jwk, dict) else None
    if key is None:
        raise InvalidProof("the DPoP proof brings no public key that can be used")
    # Of the key as it was parsed: the header's members may have a second spelling.
    return key, thumbprint(key.jwk.Algorithm.to_jwk(key.jwk.key, as_dict=True))


def _normal(url: str) -> str:
    """Return a URL without query, fragment and default port, its host in lower case.

    RFC 9449 §4.3, RFC 3986 §6.2.2. Raises `ValueError`.
    """
    parts = urlsplit(url)
    host, port = (parts.hostname or "").lower(), parts.port
    if ":" in host:
        host = f"[{host}]"
    if port is not None and (parts.scheme, port) not in {("http", 80), ("https", 443)}:
        host = f"{host}:{port}"
    return f"{parts.scheme}://{host}{parts.path}"
