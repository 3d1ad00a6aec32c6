"""Verification keys: each public key is good for one algorithm (RFC 8725 §3.1)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import PyJWK
from jwt.exceptions import PyJWTError

from app.tokens.errors import InvalidToken

#: Every algorithm that an issuer may use, and the type of its key. None is symmetric: a verifier
#: could forge its signatures.
KEY_TYPES: Final[Mapping[str, tuple[str, str | None]]] = {
    "RS256": ("RSA", None),
    "RS384": ("RSA", None),
    "RS512": ("RSA", None),
    "PS256": ("RSA", None),
    "PS384": ("RSA", None),
    "PS512": ("RSA", None),
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
}

#: RFC 7518 §3.3; beyond the upper bound, a verification takes milliseconds.
_RSA_BITS: Final = range(2048, 8192 + 1)

#: Members that only a private key has (RFC 7518 §6). A published private key is not trusted.
_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})

_MAX_KID: Final = 512


@dataclass(frozen=True, kw_only=True, slots=True)
class VerificationKey:
    """A public key, and the one algorithm that it is good for."""

    kid: str | None
    algorithm: str
    jwk: PyJWK = field(repr=False)

    def verify(self, signing_input: bytes, signature: bytes) -> bool:
        """Return whether this key made the signature.

        Uses PyJWT's algorithm, not its decoder: the token was parsed already, and a second parser
        could read it differently.
        """
        return bool(self.jwk.Algorithm.verify(signing_input, self.jwk.key, signature))


class KeySource(Protocol):
    """A `KeySource` provides one issuer's keys. Safe to call from any number of tasks at once."""

    async def key(self, kid: str | None, algorithm: str) -> VerificationKey:
        """Return the key that a token's header names.

        Raises `InvalidToken` when there is no such key, and `KeysUnavailable` when that cannot be
        known.
        """
        ...


class KeySet:
    """A key set finds keys by their id. `kid` is only ever a dictionary key (RFC 8725 §3.10)."""

    def __init__(self, keys: Iterable[VerificationKey]) -> None:
        self._all = tuple(keys)
        self._by_kid: dict[str, VerificationKey] = {}
        duplicates: set[str] = set()
        for key in self._all:
            if key.kid is not None and self._by_kid.setdefault(key.kid, key) is not key:
                duplicates.add(key.kid)
        for kid in duplicates:  # it is ambiguous which of them is meant
            del self._by_kid[kid]
        self._all = tuple(key for key in self._all if key.kid not in duplicates)

    def __len__(self) -> int:
        return len(self._all)

    def __contains__(self, kid: str | None) -> bool:
        return self._find(kid) is not None

    def _find(self, kid: str | None) -> VerificationKey | None:
        if kid is None:  # RFC 7515 §4.1.4: optional; then only one key can be meant
            return self._all[0] if len(self._all) == 1 else None
        return self._by_kid.get(kid)

    def get(self, kid: str | None, algorithm: str) -> VerificationKey:
        """Return the key `kid`. Raises `InvalidToken` if there is none, or it is for another
        algorithm."""
        key = self._find(kid)
        if key is None:
            raise InvalidToken("the token is signed with a key that its issuer does not publish")
        if key.algorithm != algorithm:
            raise InvalidToken("the token's algorithm is not that of its key")
        return key

    @classmethod
    def from_jwks(cls, document: Mapping[str, Any], algorithms: frozenset[str]) -> "KeySet":
        """Return the usable keys of a JWK Set; RFC 7517 §5: others are ignored. Raises
        `ValueError`."""
        keys = document.get("keys")
        if not isinstance(keys, list):
            raise ValueError("no JWK Set")  # noqa: TRY004  bad content, not a bad call
        usable = (verification_key(jwk, algorithms) for jwk in keys if isinstance(jwk, dict))
        return cls(key for key in usable if key is not None)


class StaticKeys:
    """`StaticKeys` is a `KeySource` of keys that never change: our own."""

    def __init__(self, keys: Iterable[VerificationKey]) -> None:
        self._keys = KeySet(keys)

    async def key(self, kid: str | None, algorithm: str) -> VerificationKey:
        """See `KeySource`."""
        return self._keys.get(kid, algorithm)


def verification_key(jwk: dict[str, Any], algorithms: frozenset[str]) -> VerificationKey | None:
    """Return the key that a JWK describes; None if it is no key for signatures of `algorithms`."""
    kid = jwk.get("kid")
    if not (kid is None or (isinstance(kid, str) and 0 < len(kid) <= _MAX_KID)):
        return None
    key_ops = jwk.get("key_ops", ["verify"])
    if jwk.get("use", "sig") != "sig" or not isinstance(key_ops, list) or "verify" not in key_ops:
        return None
    alg = _algorithm(jwk, algorithms)
    if alg is None or not _PRIVATE.isdisjoint(jwk):
        return None
    try:
        key = PyJWK(jwk, alg)
    except (PyJWTError, ValueError, TypeError):
        return None
    if isinstance(key.key, RSAPublicKey) and key.key.key_size not in _RSA_BITS:
        return None
    return VerificationKey(kid=kid, algorithm=alg, jwk=key)


def _algorithm(jwk: Mapping[str, Any], algorithms: frozenset[str]) -> str | None:
    """Return a key's own `alg`, or else the only algorithm that fits it, RS256 first."""
    fitting = [
        alg
        for alg in sorted(algorithms & KEY_TYPES.keys())
        if KEY_TYPES[alg] == (jwk.get("kty"), jwk.get("crv"))
    ]
    if "alg" in jwk:
        return jwk["alg"] if jwk["alg"] in fitting else None
    if len(fitting) == 1 or "RS256" in fitting:
        return "RS256" if "RS256" in fitting else fitting[0]
    return None
