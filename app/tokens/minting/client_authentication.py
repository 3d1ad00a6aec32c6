"""Client authentication proves to a token endpoint who the minting client is.

`client_secret_post` and `client_secret_basic` (RFC 6749 §2.3.1) send the secret itself.
`private_key_jwt` (RFC 7523 §3, OpenID Connect Core §9) sends a signed assertion that is valid for a
minute and names the provider as its audience, so that nothing worth stealing leaves this process.
"""

import base64
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, Protocol, Self
from urllib.parse import quote_plus

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from app.tokens.errors import KeyFileError
from app.tokens.signing_key import SigningKey

AssertionAlg = Literal["ES256", "PS256", "RS256"]

#: RFC 7523 §2.2.
ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

#: Seconds for which an assertion is valid: one request, and clocks that differ a little. Auth0
#: refuses more than five minutes, Okta more than an hour.
_ASSERTION_LIFETIME: Final = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class Credentials:
    """The credentials of one request: members of its body, and headers."""

    members: Mapping[str, str] = field(default_factory=dict, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


class ClientAuthentication(Protocol):
    """A `ClientAuthentication` is one method of RFC 6749 §2.3. Safe to call from any number of
    tasks at once."""

    @property
    def client_id(self) -> str: ...

    def credentials(self) -> Credentials:
        """Return the credentials of one request; every request, a retry too, needs new ones."""
        ...

    def redact(self, text: str) -> str:
        """Return `text`, which the provider sent, without any secret that it may have repeated."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class ClientSecretPost:
    """`ClientSecretPost` sends the secret as a member of the request's body."""

    client_id: str
    client_secret: str = field(repr=False)

    def credentials(self) -> Credentials:
        return Credentials(
            members={"client_id": self.client_id, "client_secret": self.client_secret}
        )

    def redact(self, text: str) -> str:
        return _redact(self.client_secret, text)


@dataclass(frozen=True, kw_only=True, slots=True)
class ClientSecretBasic:
    """`ClientSecretBasic` sends the secret in an `Authorization` header, and only there.

    RFC 6749 §2.3 allows one method for each request.
    """

    client_id: str
    client_secret: str = field(repr=False)

    def credentials(self) -> Credentials:
        # Form-urlencoded first (RFC 6749 §2.3.1, appendix B), or a colon or a percent sign in
        # either half would be misread.
        pair = f"{quote_plus(self.client_id)}:{quote_plus(self.client_secret)}"
        encoded = base64.b64encode(pair.encode("ascii")).decode("ascii")
        return Credentials(headers={"Authorization": f"Basic {encoded}"})

    def redact(self, text: str) -> str:
        return _redact(self.client_secret, text)


class AssertionKey:
    """An `AssertionKey` is the private key that signs assertions."""

    def __init__(
        self, key: SigningKey, *, alg: AssertionAlg | None = None, kid: str | None = None
    ) -> None:
        """`alg` defaults to the key's own algorithm, `kid` to its RFC 7638 thumbprint.

        Raises `ValueError` for an algorithm that the key cannot sign with.
        """
        private = load_pem_private_key(key.pem(), password=None)
        possible: tuple[AssertionAlg, ...] = ("ES256",)
        if isinstance(private, rsa.RSAPrivateKey):
            possible = ("RS256", "PS256")
        elif not isinstance(private, ec.EllipticCurvePrivateKey):  # pragma: no cover
            raise TypeError("a signing key is either EC or RSA")
        if alg is not None and alg not in possible:
            raise ValueError(f"this key signs with {' or '.join(possible)}, not with {alg}")
        self._private = private
        self.alg: AssertionAlg = alg or possible[0]
        self.kid = kid or key.kid
        self.public_jwk = {**key.public_jwk(), "alg": self.alg, "kid": self.kid}

    def __repr__(self) -> str:
        return f"AssertionKey(alg={self.alg!r}, kid={self.kid!r})"

    @classmethod
    def load(cls, path: Path, *, alg: AssertionAlg | None = None, kid: str | None = None) -> Self:
        """Load the key from a PEM file that only its owner can read. Raises `KeyFileError`.

        The file is never created here: a new key is of no use before the provider knows its public
        half.
        """
        if not path.exists():
            raise KeyFileError(f"{path} does not exist")
        try:
            return cls(SigningKey.load_or_create(path), alg=alg, kid=kid)
        except ValueError as error:
            raise KeyFileError(f"{path}: {error}") from None

    def sign(self, claims: Mapping[str, object]) -> str:
        return jwt.encode(
            dict(claims), self._private, algorithm=self.alg, headers={"kid": self.kid}
        )


class PrivateKeyJwt:
    """`PrivateKeyJwt` signs an assertion of the client's identity for each request."""

    def __init__(
        self,
        client_id: str,
        key: AssertionKey,
        *,
        audience: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`audience` is the provider's issuer identifier, or the URL of its token endpoint where
        the provider accepts nothing else: RFC 7523 §3 allows both.

        It is a single string, because one of several providers that accept the same audience could
        use our assertion at another.
        """
        self.client_id = client_id
        self._key = key
        self._audience = audience
        self._clock = clock

    def __repr__(self) -> str:
        return f"PrivateKeyJwt(client_id={self.client_id!r}, key={self._key!r})"

    def credentials(self) -> Credentials:
        now = int(self._clock())
        claims = {
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": self._audience,
            "jti": secrets.token_urlsafe(16),  # a provider may insist that it was never used
            "iat": now,
            "exp": now + _ASSERTION_LIFETIME,
        }
        return Credentials(
            members={
                "client_id": self.client_id,  # optional (RFC 7521 §4.2), but Entra wants it
                "client_assertion_type": ASSERTION_TYPE,
                "client_assertion": self._key.sign(claims),
            }
        )

    def redact(self, text: str) -> str:
        return text  # no secret was sent


def _redact(secret: str, text: str) -> str:
    return text.replace(secret, "***") if secret else text
