"""The issuer's signing keys: current, next and previous, as Auth0 keeps and publishes them."""

from pathlib import Path
from typing import Any, Final

from app.tokens.signing_key import SigningKey

_CURRENT: Final = "current.pem"
_NEXT: Final = "next.pem"
_PREVIOUS: Final = "previous.pem"


class SigningKeys:
    """`SigningKeys` holds RSA keys of 2048 bits for RS256.

    With a directory they are files in it, readable by their owner only, and the same after a
    restart. `rotate` takes a moment, as it makes a key, and must not run twice at once.
    """

    def __init__(self, directory: Path | None) -> None:
        """Load the keys, or create them. Raises `KeyFileError` for files that cannot be used."""
        self._directory = directory
        self.previous: SigningKey | None = None
        self.current = self._load_or_create(_CURRENT)
        self.next = self._load_or_create(_NEXT)
        if directory and (directory / _PREVIOUS).exists():
            self.previous = self._load_or_create(_PREVIOUS)

    def jwks(self) -> dict[str, Any]:
        """Return the JWK Set (RFC 7517 §5), with the next key, so that caches have it before it
        signs."""
        keys = [self.current, self.next, *([self.previous] if self.previous else [])]
        return {"keys": [key.public_jwk() for key in keys]}

    def rotate(self) -> None:
        """Sign with the next key from now on.

        Tokens of the current key stay valid, those of the previous one do not.
        """
        if self._directory:
            # A crash in between leaves a gap that `__init__` fills.
            (self._directory / _CURRENT).replace(self._directory / _PREVIOUS)
            (self._directory / _NEXT).replace(self._directory / _CURRENT)
        fresh = self._load_or_create(_NEXT)
        self.previous, self.current, self.next = self.current, self.next, fresh

    def _load_or_create(self, name: str) -> SigningKey:
        if self._directory is None:
            return SigningKey.generate("RS256")
        return SigningKey.load_or_create(self._directory / name, "RS256")
