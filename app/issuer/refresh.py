"""Refresh tokens, replaced at each use, so that a stolen one shows (RFC 9700 §4.14.2)."""

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

#: Sign-ins that may be renewed at once; some 1 KB each.
_CAPACITY: Final = 10_000


@dataclass(kw_only=True, slots=True)
class _Family:
    """All refresh tokens of one sign-in, of which the latest counts."""

    sign_in: SignIn
    ends: float
    used: float
    current: str
    last: str | None = None  #: what `current` has replaced, at `used`


class RefreshTokens:
    """Refresh tokens, `<family>.<secret>`, each for one use. Times are in seconds.

    A family ends `lifetime` after its sign-in, `idle` after its last use, and at once when a token
    is used again: one of the two users stole it. But within `leeway` of its use, the last one is
    answered once more with the successor that it got, since the answer may have been lost.

    In memory: a restart forgets them, and people sign in again. Over the capacity, the families
    that have been idle longest go.
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
        """The first refresh token of a sign-in."""
        now = self._clock()
        self._forget_idle(now)
        while len(self._families) >= self._capacity:
            self._families.popitem(last=False)
        family_id, secret = secrets.token_urlsafe(16), secrets.token_urlsafe(32)
        self._families[family_id] = _Family(
            sign_in=sign_in, ends=now + self._lifetime, used=now, current=secret
        )
        return f"{family_id}.{secret}"

    def sign_in(self, token: str, client_id: str) -> SignIn:
        """Whose token it is. Raises `OAuthError` for one that is not, or no more, this client's;
        its family ends where the token was used before."""
        now = self._clock()
        family_id, family, secret = self._found(token, now)
        if family is None or family.sign_in.client_id != client_id:
            raise _refused()
        if not _same(secret, family.current) and not self._repeats(family, secret, now):
            del self._families[family_id]
            log.warning(
                "a refresh token was used again: its sign-in is over",
                extra={"client_id": client_id, "user_id": family.sign_in.user_id},
            )
            raise _refused()
        return family.sign_in

    def rotate(self, token: str) -> str:
        """The successor of a token for which `sign_in` has been asked just now."""
        now = self._clock()
        family_id, family, secret = self._found(token, now)
        if family is None:
            raise _refused()
        if _same(secret, family.current):
            family.last, family.current = secret, secrets.token_urlsafe(32)
            family.used = now
            self._families.move_to_end(family_id)
        return f"{family_id}.{family.current}"

    def revoke(self, token: str, client_id: str) -> None:
        """End the family of a token, be it the latest or not. Raises `OAuthError` for another
        client's (RFC 7009 §2.1); one that is unknown is fine."""
        family_id, family, _ = self._found(token, self._clock())
        if family is None:
            return
        if family.sign_in.client_id != client_id:
            raise OAuthError("invalid_grant", "the token is another client's")
        del self._families[family_id]

    def _found(self, token: str, now: float) -> tuple[str, _Family | None, str]:
        self._forget_idle(now)
        family_id, _, secret = token.partition(".")
        family = self._families.get(family_id)
        if family is not None and family.ends <= now:
            del self._families[family_id]
            family = None
        return family_id, family, secret

    def _repeats(self, family: _Family, secret: str, now: float) -> bool:
        return (
            family.last is not None
            and _same(secret, family.last)
            and now - family.used < self._leeway
        )

    def _forget_idle(self, now: float) -> None:
        while self._families:
            family_id, family = next(iter(self._families.items()))
            if family.used + self._idle > now:
                return
            del self._families[family_id]


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())


def _refused() -> OAuthError:
    return OAuthError("invalid_grant", "the refresh token is unknown, used, revoked or too old")
