"""A seal keeps a secret where others can read: in the broker, in the store.

It is authenticated encryption by Fernet (AES-128-CBC and HMAC-SHA-256,
https://github.com/fernet/spec) with several keys at once, so that keys can be changed while
messages are on their way.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Final

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

_PARTS: Final = 2


class Unsealable(Exception):
    """The text was not sealed with any of our keys, or was sealed for another purpose."""


def new_key() -> str:
    """Make a new key: 32 random bytes in base64url."""
    return Fernet.generate_key().decode()


def fingerprint(key: str) -> str:
    """Return 8 hex digits that two sides may show each other to see whether their keys agree."""
    return hashlib.sha256(key.encode()).hexdigest()[:8]


class Seal:
    """A `Seal` encrypts with the first of its keys, and decrypts with any of them."""

    def __init__(self, keys: Sequence[str]) -> None:
        """Take the keys. Raises `ValueError` for none, or one that `new_key` did not make."""
        if not keys:
            raise ValueError("there is no key")
        try:
            self._keys = MultiFernet([Fernet(key) for key in keys])
        except ValueError:
            # Without the cause: its text may hold a part of the key.
            raise ValueError("a key must be 32 bytes in base64url") from None

    def seal(self, secret: str, *, purpose: str) -> str:
        """Encrypt `secret`; to open it takes a key and the same `purpose`, e.g. a build's id."""
        return self._keys.encrypt(json.dumps([purpose, secret]).encode()).decode()

    def open(self, sealed: str, *, purpose: str) -> str:
        """Return the secret that was sealed for `purpose`. Raises `Unsealable`."""
        try:
            content = json.loads(self._keys.decrypt(sealed.encode()))
        except (InvalidToken, ValueError):
            raise Unsealable("it is not sealed with a key that is known here") from None
        if not isinstance(content, list) or len(content) != _PARTS or content[0] != purpose:
            raise Unsealable("it was sealed for another purpose")
        secret = content[1]
        if not isinstance(secret, str):
            raise Unsealable("it holds no text")
        return secret
