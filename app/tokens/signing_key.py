"""A signing key is the private key that signs tokens, and the file that stores it."""

import hashlib
import json
import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, Self

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from app.tokens.claims import encode
from app.tokens.errors import KeyFileError
from app.tokens.keys import VerificationKey, verification_key

Alg = Literal["ES256", "RS256"]
_PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

_RSA_BITS: Final = 2048  #: RFC 7518 §3.3

#: The members of a JWK that its thumbprint is the hash of (RFC 7638 §3.2).
_REQUIRED: Final = {"EC": ("crv", "kty", "x", "y"), "RSA": ("e", "kty", "n")}


class SigningKey:
    """A `SigningKey` is parsed once: PyJWT takes 31 ms for each signature when it is given PEM
    text."""

    def __init__(self, private: _PrivateKey) -> None:
        """Raises `ValueError` for a key that is neither EC P-256 nor RSA of 2048 bits or more."""
        public: dict[str, Any]
        if isinstance(private, ec.EllipticCurvePrivateKey):
            if private.curve.name != ec.SECP256R1.name:
                raise ValueError("an EC key must be on the curve P-256")
            self.alg: Alg = "ES256"
            public = ECAlgorithm.to_jwk(private.public_key(), as_dict=True)
        else:
            if private.key_size < _RSA_BITS:
                raise ValueError(f"an RSA key must have {_RSA_BITS} bits or more")
            self.alg = "RS256"
            public = RSAAlgorithm.to_jwk(private.public_key(), as_dict=True)
        self._private = private
        required = {name: public[name] for name in _REQUIRED[public["kty"]]}
        self.kid = _thumbprint(required)
        self._public = {**required, "alg": self.alg, "use": "sig", "kid": self.kid}

    def __repr__(self) -> str:
        return f"SigningKey(alg={self.alg!r}, kid={self.kid!r})"

    @classmethod
    def generate(cls, alg: Alg = "ES256") -> Self:
        """Return a new key, in memory only."""
        if alg == "ES256":
            return cls(ec.generate_private_key(ec.SECP256R1()))
        return cls(rsa.generate_private_key(public_exponent=65537, key_size=_RSA_BITS))

    @classmethod
    def load_or_create(cls, path: Path, alg: Alg = "ES256") -> Self:
        """Load the key from a PEM file; create the file, readable by its owner only, if there is
        none.

        `alg` is for a new key; an existing key has its own algorithm. Safe to call from several
        processes at once: all get the same key. Raises `KeyFileError`.
        """
        try:
            if not path.exists():
                new = cls.generate(alg)
                if _create(path, new.pem()):
                    return new
            return cls(_load(path))
        except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise KeyFileError(f"{path} cannot be used as a signing key: {error}") from error

    def sign(self, claims: Mapping[str, Any], *, typ: str) -> str:
        """Return a JWT with these claims."""
        headers = {"typ": typ, "kid": self.kid}
        token: str = jwt.encode(dict(claims), self._private, algorithm=self.alg, headers=headers)
        return token

    def public_jwk(self) -> dict[str, str]:
        return dict(self._public)

    def verification_key(self) -> VerificationKey:
        key = verification_key(self.public_jwk(), frozenset({self.alg}))
        if key is None:  # pragma: no cover
            raise AssertionError("our own public key cannot be used")
        return key

    def pem(self) -> bytes:
        """Return the private key in PEM (PKCS #8), to be stored."""
        return self._private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _thumbprint(required: Mapping[str, str]) -> str:
    """Return the thumbprint of RFC 7638 §3: a hash of the sorted members, without spaces."""
    canonical = json.dumps(dict(required), sort_keys=True, separators=(",", ":"))
    return encode(hashlib.sha256(canonical.encode("utf-8")).digest())


def _create(path: Path, pem: bytes) -> bool:
    """Write a file atomically; return False where another process has created one meanwhile."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError:
        return False
    finally:
        draft.unlink()
    return True


def _load(path: Path) -> _PrivateKey:
    with path.open("rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        if not stat.S_ISREG(mode):
            raise ValueError("it is not a file")
        if stat.S_IMODE(mode) & 0o077:
            raise ValueError("others can read it: chmod 600 it")
        private = load_pem_private_key(file.read(), password=None)
    if not isinstance(private, _PrivateKey):
        raise ValueError("it must be an EC key (P-256) or an RSA key")  # noqa: TRY004  as above
    return private
