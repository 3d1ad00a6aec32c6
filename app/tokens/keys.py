"""Public keys that verify tokens: one key, one algorithm (RFC 8725 §3.1)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import PyJWK
from jwt.exceptions import PyJWTError

from app.tokens.errors import InvalidToken

#: Every algorithm that an issuer may be trusted with, and the key that it takes. No symmetric one:
#: who can verify with it can also forge.
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

#: RFC 7518 §3.3; above the upper bound a verification takes milliseconds.
_RSA_BITS: Final = range(2048, 8192 + 1)

#: Members that only a private key has (RFC 7518 §6). Published, it is anyone's.
_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})

_MAX_KID: Final = 512


@dataclass(frozen=True, kw_only=True, slots=True)
class VerificationKey:
    """A public key, and the one algorithm that it is good for."""

    kid: str | None
    algorithm: str
    jwk: PyJWK = field(repr=False)

    def verify(self, signing_input: bytes, signature: bytes) -> bool:
        """Whether this key made the signature.

        PyJWT's algorithm, not its decoder: the token was taken apart already, and a second parser
        would be a second opinion on what it says.
        """
        return bool(self.jwk.Algorithm.verify(signing_input, self.jwk.key, signature))


class KeySource(Protocol):
    """Where one issuer's keys come from. Safe to call from any number of tasks at once."""

    async def key(self, kid: str | None, algorithm: str) -> VerificationKey:
        """The key for a token's header. Raises `InvalidToken` when there is none such, and
        `KeysUnavailable` when it cannot be known."""
        ...


class KeySet:
    """Keys by their id. `kid` is only ever a key into this dictionary (RFC 8725 §3.10)."""

    def __init__(self, keys: Iterable[VerificationKey]) -> None:
        self._all = tuple(keys)
        self._by_kid: dict[str, VerificationKey] = {}
        twice: set[str] = set()
        for key in self._all:
            if key.kid is not None and self._by_kid.setdefault(key.kid, key) is not key:
                twice.add(key.kid)
        for kid in twice:  # which of them is meant, nobody can say
            del self._by_kid[kid]
        self._all = tuple(key for key in self._all if key.kid not in twice)

    def __len__(self) -> int:
        return len(self._all)

    def __contains__(self, kid: str | None) -> bool:
        return self._find(kid) is not None

    def _find(self, kid: str | None) -> VerificationKey | None:
        if kid is None:  # RFC 7515 §4.1.4: optional; then only one key can be meant
            return self._all[0] if len(self._all) == 1 else None
        return self._by_kid.get(kid)

    def get(self, kid: str | None, algorithm: str) -> VerificationKey:
        """Raises `InvalidToken` when there is no such key, or it is for another algorithm."""
        key = self._find(kid)
        if key is None:
            raise InvalidToken("the token is signed with a key that its issuer does not publish")
        if key.algorithm != algorithm:
            raise InvalidToken("the token's algorithm is not that of its key")
        return key

    @classmethod
    def from_jwks(cls, document: Mapping[str, Any], algorithms: frozenset[str]) -> "KeySet":
        """The usable keys of a JWK Set (RFC 7517 §5: others are ignored). Raises `ValueError`."""
        keys = document.get("keys")
        if not isinstance(keys, list):
            raise ValueError("no JWK Set")  # noqa: TRY004  bad content, not a bad call
        usable = (verification_key(jwk, algorithms) for jwk in keys if isinstance(jwk, dict))
        return cls(key for key in usable if key is not None)


class StaticKeys:
    """Keys that are known once and for all: our own."""

    def __init__(self, keys: Iterable[VerificationKey]) -> None:
        self._keys = KeySet(keys)

    async def key(self, kid: str | None, algorithm: str) -> VerificationKey:
        """See `KeySource`."""
        return self._keys.get(kid, algorithm)


def verification_key(jwk: dict[str, Any], algorithms: frozenset[str]) -> VerificationKey | None:
    """The key that a JWK describes, or None when it is not one for signatures of `algorithms`."""
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
    """The one algorithm of a key: its own `alg`; else the only one that fits it, RS256 first."""
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
