"""How the minting client proves to a token endpoint who it is.

`client_secret_post` and `client_secret_basic` (RFC 6749 §2.3.1) send the secret itself;
`private_key_jwt` (RFC 7523 §3, OpenID Connect Core §9) sends a signed statement that lives for a
minute and names the provider that it is for, so that nothing worth stealing leaves this process.
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

#: Seconds that an assertion is good for: one request, and clocks that disagree a little. Auth0 and
#: Okta refuse more than five minutes and an hour.
_ASSERTION_LIFETIME: Final = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class Credentials:
    """What one request carries to authenticate its client."""

    members: Mapping[str, str] = field(default_factory=dict, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


class ClientAuthentication(Protocol):
    """A way to authenticate; safe to call from any number of tasks at once."""

    @property
    def client_id(self) -> str: ...

    def credentials(self) -> Credentials:
        """For one request; the next one, a repetition too, needs its own."""
        ...

    def redact(self, words: str) -> str:
        """`words` of the provider without any secret that it may have repeated."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class ClientSecretPost:
    """The secret as a member of the request's body."""

    client_id: str
    client_secret: str = field(repr=False)

    def credentials(self) -> Credentials:
        return Credentials(
            members={"client_id": self.client_id, "client_secret": self.client_secret}
        )

    def redact(self, words: str) -> str:
        return _without(self.client_secret, words)


@dataclass(frozen=True, kw_only=True, slots=True)
class ClientSecretBasic:
    """The secret in an `Authorization` header, and only there: RFC 6749 §2.3 allows one method."""

    client_id: str
    client_secret: str = field(repr=False)

    def credentials(self) -> Credentials:
        # Form-urlencoded first (RFC 6749 §2.3.1, appendix B): a colon or a percent sign in either
        # half would be read as something else.
        pair = f"{quote_plus(self.client_id)}:{quote_plus(self.client_secret)}"
        encoded = base64.b64encode(pair.encode("ascii")).decode("ascii")
        return Credentials(headers={"Authorization": f"Basic {encoded}"})

    def redact(self, words: str) -> str:
        return _without(self.client_secret, words)


class AssertionKey:
    """The private key that signs assertions."""

    def __init__(
        self, key: SigningKey, *, alg: AssertionAlg | None = None, kid: str | None = None
    ) -> None:
        """`alg` defaults to the key's own; `kid` to its RFC 7638 thumbprint. Raises `ValueError`
        for an algorithm that the key cannot do."""
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
        """The key in a PEM file that nobody but its owner can read. Raises `KeyFileError`.

        Never made here: the provider has to know its public half before it is of any use.
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
    """A signed assertion of who asks, for one request."""

    def __init__(
        self,
        client_id: str,
        key: AssertionKey,
        *,
        audience: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`audience` is the provider's issuer identifier; its token endpoint's URL only where the
        provider takes nothing else (RFC 7523 §3 allows both; an audience that several providers
        accept lets one of them use our assertion at another, hence a single string)."""
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

    def redact(self, words: str) -> str:
        return words  # no secret was sent


def _without(secret: str, words: str) -> str:
    return words.replace(secret, "***") if secret else words
