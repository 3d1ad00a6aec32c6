"""Refresh tokens are replaced at each use, so that a stolen one is detected (RFC 9700 §4.14.2)."""

import hmac
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from app.issuer.claims import SignIn
from app.issuer.errors import OAuthError

log = logging.getLogger(__name__)

#: Families that are kept at once; some 1 KB each.
_CAPACITY: Final = 10_000


@dataclass(kw_only=True, slots=True)
class _Family:
    """A family is all refresh tokens of one sign-in, of which the latest is valid."""

    sign_in: SignIn
    expires_at: float
    used_at: float
    current: str
    previous: str | None = None  #: the secret that `current` replaced, at `used_at`


class RefreshTokens:
    """`RefreshTokens` issues tokens `<family>.<secret>`, each for one use. Times are in seconds.

    A family ends `lifetime` after its sign-in, `idle` after its last use, and at once when a token
    is used again: one of its two users stole it. But within `leeway` of its use, the previous token
    is accepted once more and gets the same successor, since the first response may have been lost.

    All is in memory: after a restart, users sign in again. Over the capacity, the families that
    were idle longest go.
    """

    def __init__(
        self,
        *,
        lifetime: float,
        idle: float,
        leeway: float,
        capacity: int = _CAPACITY,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lifetime = lifetime
        self._idle = idle
        self._leeway = leeway
        self._capacity = capacity
        self._clock = clock
        self._families: OrderedDict[str, _Family] = OrderedDict()  # the longest idle first

    def issue(self, sign_in: SignIn) -> str:
        """Return the first refresh token of a sign-in."""
        now = self._clock()
        self._forget_idle(now)
        while len(self._families) >= self._capacity:
            self._families.popitem(last=False)
        family_id, secret = secrets.token_urlsafe(16), secrets.token_urlsafe(32)
        self._families[family_id] = _Family(
            sign_in=sign_in, expires_at=now + self._lifetime, used_at=now, current=secret
        )
        return f"{family_id}.{secret}"

    def sign_in(self, token: str, client_id: str) -> SignIn:
        """Return the sign-in of a token, and end its family if the token was used before.

        Raises `OAuthError` for a token that is not valid, or not this client's.
        """
        now = self._clock()
        family_id, family, secret = self._find(token, now)
        if family is None or family.sign_in.client_id != client_id:
            raise _refused()
        if not _equal(secret, family.current) and not self._is_retry(family, secret, now):
            del self._families[family_id]
            log.warning(
                "a refresh token was used again: its sign-in is over",
                extra={"client_id": client_id, "user_id": family.sign_in.user_id},
            )
            raise _refused()
        return family.sign_in

    def rotate(self, token: str) -> str:
        """Return the successor of a token; call it right after `sign_in` has accepted the token."""
        now = self._clock()
        family_id, family, secret = self._find(token, now)
        if family is None:
            raise _refused()
        if _equal(secret, family.current):
            family.previous, family.current = secret, secrets.token_urlsafe(32)
            family.used_at = now
            self._families.move_to_end(family_id)
        return f"{family_id}.{family.current}"

    def revoke(self, token: str, client_id: str) -> None:
        """End the family of a token, be it the latest or not; an unknown token is accepted (RFC
        7009 §2.2).

        Raises `OAuthError` for another client's token (RFC 7009 §2.1).
        """
        family_id, family, _ = self._find(token, self._clock())
        if family is None:
            return
        if family.sign_in.client_id != client_id:
            raise OAuthError("invalid_grant", "the token is another client's")
        del self._families[family_id]

    def _find(self, token: str, now: float) -> tuple[str, _Family | None, str]:
        self._forget_idle(now)
        family_id, _, secret = token.partition(".")
        family = self._families.get(family_id)
        if family is not None and family.expires_at <= now:
            del self._families[family_id]
            family = None
        return family_id, family, secret

    def _is_retry(self, family: _Family, secret: str, now: float) -> bool:
        return (
            family.previous is not None
            and _equal(secret, family.previous)
            and now - family.used_at < self._leeway
        )

    def _forget_idle(self, now: float) -> None:
        while self._families:
            family_id, family = next(iter(self._families.items()))
            if family.used_at + self._idle > now:
                return
            del self._families[family_id]


def _equal(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())


def _refused() -> OAuthError:
    return OAuthError("invalid_grant", "the refresh token is unknown, used, revoked or too old")
