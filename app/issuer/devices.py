"""The devices that wait until a user allows them what they ask for (RFC 8628)."""

import re
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from app.issuer.errors import OAuthError
from app.issuer.one_time_store import CAPACITY, OneTimeStore
from app.issuer.user_name import User

#: RFC 8628 §6.1: no vowels, which would make words, and no digits, which look like letters.
_LETTERS: Final = "BCDFGHJKLMNPQRSTVWXZ"

#: Seconds for which an expired code is reported as expired, and not as unknown.
_ENDED_CODE_TTL: Final = 600

#: Seconds added to the interval of a device that polls too early, each time (RFC 8628 §3.5).
_SLOW_DOWN_INCREMENT: Final = 5


@dataclass(kw_only=True, slots=True, eq=False)
class Device:
    """A device's request, and its outcome. Times are in seconds of the clock."""

    client_id: str
    scopes: Sequence[str]
    user_code: str
    expires_at: float
    interval: float
    last_poll_at: float | None = None  #: when it last asked for its tokens
    user: User | None = None  #: who has allowed it
    denied: bool = False


class Devices:
    """`Devices` finds a device by its own code, which is secret, and by the code that users type.

    Devices are in memory: a restart forgets them, and over `capacity` the oldest go.
    """

    def __init__(
        self,
        *,
        lifetime: float,
        interval: float,
        capacity: int = CAPACITY,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lifetime = lifetime
        self._interval = interval
        self._clock = clock
        self._by_code: OneTimeStore[Device] = OneTimeStore(
            lifetime=lifetime + _ENDED_CODE_TTL, capacity=capacity, clock=clock
        )
        self._by_user_code: OneTimeStore[Device] = OneTimeStore(
            lifetime=lifetime, capacity=capacity, clock=clock, make_id=_user_code
        )

    def add(self, client_id: str, scopes: Sequence[str]) -> tuple[str, str]:
        """Add a device that waits from now on; return its device code and its user code."""
        device = Device(
            client_id=client_id,
            scopes=scopes,
            user_code="",
            expires_at=self._clock() + self._lifetime,
            interval=self._interval,
        )
        device.user_code = self._by_user_code.add(device)
        return self._by_code.add(device), device.user_code

    def waiting(self, typed: str) -> Device | None:
        """Return the device with a user code, however it is typed; None if no such device waits."""
        letters = re.sub(f"[^{_LETTERS}]", "", typed.upper())
        return self._by_user_code.get(_grouped(letters))

    def decide(self, device: Device, user: User | None) -> bool:
        """Let the device act for the user, or deny it for None; return False if it does not wait
        any more."""
        if self._by_user_code.get(device.user_code) is not device:
            return False
        self._by_user_code.take(device.user_code)
        device.user, device.denied = user, user is None
        return True

    def redeem(self, device_code: str, client_id: str) -> tuple[User, Sequence[str]]:
        """Return who allowed the device, and the scopes; once. Raises `OAuthError` by RFC 8628
        §3.5."""
        device = self._by_code.get(device_code)
        if device is None or device.client_id != client_id:
            raise OAuthError("invalid_grant", "the device code is unknown or used")
        now = self._clock()
        if device.expires_at <= now:
            raise OAuthError("expired_token", "the device code is too old; begin again")
        if device.denied:
            self._by_code.take(device_code)
            raise OAuthError("access_denied", "the user has denied it")
        if device.user is not None:
            self._by_code.take(device_code)
            return device.user, device.scopes
        too_soon = device.last_poll_at is not None and now - device.last_poll_at < device.interval
        device.last_poll_at = now
        if too_soon:
            device.interval += _SLOW_DOWN_INCREMENT
            raise OAuthError("slow_down", f"ask every {device.interval:g} seconds at most")
        raise OAuthError("authorization_pending", "the user has not answered yet")


def _user_code() -> str:
    """Return eight letters, 34 bits: enough for minutes and few guesses (RFC 8628 §5.1)."""
    return _grouped("".join(secrets.choice(_LETTERS) for _ in range(8)))


def _grouped(letters: str) -> str:
    return f"{letters[:4]}-{letters[4:]}"
