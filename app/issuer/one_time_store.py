"""Things that wait a short while for their one use: logins, codes and devices."""

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Generic, TypeVar

#: Logins, codes and devices that may wait at once; at most some 8 KB each.
CAPACITY: Final = 1000

T = TypeVar("T")


def _unguessable() -> str:
    """256 random bits."""
    return secrets.token_urlsafe(32)


class OneTimeStore(Generic[T]):
    """Values under unguessable ids, for `lifetime` seconds; over `capacity` the oldest go.

    `make_id` makes ids of another kind; one that is in use is made again.
    In memory: a restart forgets them, and whoever was signing in begins again.
    """

    def __init__(
        self,
        *,
        lifetime: float,
        capacity: int = CAPACITY,
        clock: Callable[[], float] = time.monotonic,
        make_id: Callable[[], str] = _unguessable,
    ) -> None:
        self._lifetime = lifetime
        self._capacity = capacity
        self._clock = clock
        self._make_id = make_id
        # Every entry lives equally long, so the order of arrival is the order of expiry.
        self._entries: OrderedDict[str, tuple[float, T]] = OrderedDict()

    def add(self, value: T) -> str:
        """Keep a value; gives its id."""
        self._forget_expired()
        while len(self._entries) >= self._capacity:
            self._entries.popitem(last=False)
        while (pending_id := self._make_id()) in self._entries:
            pass
        self._entries[pending_id] = (self._clock() + self._lifetime, value)
        return pending_id

    def get(self, pending_id: str) -> T | None:
        """The value, which stays; None for an id that is unknown, used or too old."""
        self._forget_expired()
        entry = self._entries.get(pending_id)
        return entry[1] if entry else None

    def take(self, pending_id: str) -> T | None:
        """The value, which goes: the next one who asks gets None."""
        self._forget_expired()
        entry = self._entries.pop(pending_id, None)
        return entry[1] if entry else None

    def _forget_expired(self) -> None:
        now = self._clock()
        while self._entries:
            oldest = next(iter(self._entries))
            if self._entries[oldest][0] > now:
                return
            del self._entries[oldest]
