"""A one-time store keeps logins, codes and devices for a short while, until their one use."""

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Generic, TypeVar

#: Entries of one store; at most some 8 KB each.
CAPACITY: Final = 1000

T = TypeVar("T")


def _unguessable() -> str:
    """Return 256 random bits."""
    return secrets.token_urlsafe(32)


class OneTimeStore(Generic[T]):
    """A `OneTimeStore` keeps values under unguessable ids, for `lifetime` seconds.

    Over `capacity` the oldest entries go. `make_id` makes ids of another kind, and is called again
    for an id that is in use. All is in memory: after a restart, users sign in again.
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
        """Add a value; return its id."""
        self._forget_expired()
        while len(self._entries) >= self._capacity:
            self._entries.popitem(last=False)
        while (entry_id := self._make_id()) in self._entries:
            pass
        self._entries[entry_id] = (self._clock() + self._lifetime, value)
        return entry_id

    def get(self, entry_id: str) -> T | None:
        """Return the value, and keep it; None for an id that is unknown, used or expired."""
        self._forget_expired()
        entry = self._entries.get(entry_id)
        return entry[1] if entry else None

    def take(self, entry_id: str) -> T | None:
        """Return the value, and remove it; None for an id that is unknown, used or expired."""
        self._forget_expired()
        entry = self._entries.pop(entry_id, None)
        return entry[1] if entry else None

    def _forget_expired(self) -> None:
        now = self._clock()
        while self._entries:
            oldest = next(iter(self._entries))
            if self._entries[oldest][0] > now:
                return
            del self._entries[oldest]
