"""A DPoP proof shows that the sender of a token holds the key that it is bound to (RFC 9449).

This module has the sender's side, and the words that both sides use; `app.tokens.dpop` checks
proofs.
"""

import base64
import hashlib
import json
import os
import secrets
import stat
import time
from pathlib import Path
from typing import Any, Final, Self

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from jwt.algorithms import ECAlgorithm

SCHEME: Final = "DPoP"  #: the scheme of `Authorization` (RFC 9449 §7.1)
HEADER: Final = "DPoP"  #: the header that carries the proof (§4.1)
TYPE: Final = "dpop+jwt"  #: `typ` of a proof (§4.2)
#: The one algorithm of proofs: we make the key of every pool process ourselves.
ALGORITHM: Final = "ES256"

#: The members of a JWK that its thumbprint is made of (RFC 7638 §3.2).
_REQUIRED: Final = ("crv", "kty", "x", "y")


class ProofKey:
    """A `ProofKey` is a private key on P-256 that signs proofs; threads may share it."""

    def __init__(self, private: ec.EllipticCurvePrivateKey) -> None:
        """Take a private key. Raises `ValueError` for one on another curve."""
        if private.curve.name != ec.SECP256R1.name:
            raise ValueError("it must be on the curve P-256")
        self._private = private
        jwk: dict[str, Any] = ECAlgorithm.to_jwk(private.public_key(), as_dict=True)
        self._jwk = {name: jwk[name] for name in _REQUIRED}
        self.jkt = thumbprint(self._jwk)

    def __repr__(self) -> str:
        return f"ProofKey(jkt={self.jkt!r})"

    @classmethod
    def generate(cls) -> Self:
        """Make a new key, in memory only."""
        return cls(ec.generate_private_key(ec.SECP256R1()))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a key from a PEM file.

        Raises `ValueError` when the file cannot be read, holds no P-256 key, or is open to others
        than its owner.
        """
        try:
            return cls(_load(path))
        except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise ValueError(f"{path} cannot be used as a key: {error}") from error

    def proof(self, method: str, url: str, token: str) -> str:
        """Return the proof for a request with `token` (§4.2); `url` has no query or fragment."""
        claims = {
            "jti": secrets.token_urlsafe(16),
            "htm": method,
            "htu": url,
            "iat": int(time.time()),
            "ath": token_hash(token),
        }
        headers = {"typ": TYPE, "jwk": self._jwk}
        proof: str = jwt.encode(claims, self._private, algorithm=ALGORITHM, headers=headers)
        return proof


def _load(path: Path) -> ec.EllipticCurvePrivateKey:
    with path.open("rb") as file:
        if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
            raise ValueError("others can read it: chmod 600 it")
        private = load_pem_private_key(file.read(), password=None)
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise ValueError("it must be an EC key")  # noqa: TRY004  as the others
    return private


def thumbprint(jwk: dict[str, str]) -> str:
    """Return an EC key's thumbprint (RFC 7638 §3), `cnf.jkt` of a bound token (RFC 9449 §6.1)."""
    canonical = json.dumps(
        {name: jwk[name] for name in _REQUIRED}, sort_keys=True, separators=(",", ":")
    )
    return _encode(hashlib.sha256(canonical.encode("utf-8")).digest())


def token_hash(token: str) -> str:
    """Return the digest of a token that a proof carries as `ath` (RFC 9449 §4.2)."""
    return _encode(hashlib.sha256(token.encode("ascii")).digest())


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")
