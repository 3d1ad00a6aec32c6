"""Quotas bound how many requests a user, or an address without a token, may make in a time.

The header fields are those of draft-ietf-httpapi-ratelimit-headers-11. All replicas share the
quotas: they count in Redis, in fixed windows of the clock. Each replica draws a share of a quota at
a time, so that most requests cost no round trip; a share that it does not use within the window, at
most a hundredth of the quota, is lost to the others.

A valid token is never refused for the address that it comes from: many users and many workers may
share one with a client that sends rubbish, and a refused heartbeat costs a build.
"""

import asyncio
import ipaddress
import logging
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from limits import RateLimitItem
from limits.aio.storage import Storage
from starlette.requests import Request
from starlette.responses import Response

from app.api.problems import ApiError, quota_exceeded
from app.builds.errors import StoreUnavailable
from app.builds.store.connection import translate_errors
from app.contract.problems import Code

log = logging.getLogger(__name__)

#: Shares in a quota: more of them cost more round trips, with fewer a larger part is lost.
_DRAWS_PER_QUOTA: Final = 100

#: Users or addresses whose shares one process caches; after an eviction, a new share is drawn.
_MAX_CACHED_SHARES: Final = 10_000

#: Seconds that a request waits to be counted, and for which none is counted after a failure.
_COUNT_TIMEOUT: Final = 1.0
_STORE_RETRY_INTERVAL: Final = 2.0

#: The key in a request's scope for the `QuotaStatus` that its response will report.
_QUOTA_STATUS: Final = "baton.status"


@dataclass(frozen=True, slots=True)
class QuotaStatus:
    """A `QuotaStatus` says what is left of a quota; the window ends in `reset` seconds."""

    allowed: bool
    remaining: int
    reset: int


@dataclass(slots=True)
class _Share:
    """A share is the part of a quota that this process has drawn in one window."""

    window: int
    undrawn: int  #: what no replica had drawn when this process last drew
    left: int = 0
    drawing: asyncio.Lock = field(default_factory=asyncio.Lock)


class Quota:
    """A `Quota` is a number of requests for each key in each window of time.

    While the store is away there is no limit: requests that could do harm need the store, too, and
    get 503.
    """

    def __init__(
        self,
        name: str,
        rate: RateLimitItem,
        storage: Storage,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.name = name
        self.amount = rate.amount
        self.seconds = rate.get_expiry()
        self._rate = rate
        self._storage = storage
        self._clock = clock
        self._part = max(1, rate.amount // _DRAWS_PER_QUOTA)
        self._shares: OrderedDict[str, _Share] = OrderedDict()
        self._away_until = -math.inf

    async def take(self, key: str) -> QuotaStatus | None:
        """Count a request of `key`; None, which allows it, when the store is away."""
        share = self._share(key)
        if not share.left and share.undrawn:
            async with share.drawing:
                if not share.left and share.undrawn and not await self._draw(key, share):
                    return None
                return self._spent(share)
        return self._spent(share)

    def _share(self, key: str) -> _Share:
        window = int(self._clock() // self.seconds)
        share = self._shares.get(key)
        if share is None or share.window != window:
            share = self._shares[key] = _Share(window, undrawn=self.amount)
            if len(self._shares) > _MAX_CACHED_SHARES:
                self._shares.popitem(last=False)
        self._shares.move_to_end(key)
        return share

    def _spent(self, share: _Share) -> QuotaStatus:
        allowed = share.left > 0
        share.left -= allowed
        reset = math.ceil((share.window + 1) * self.seconds - self._clock())
        return QuotaStatus(allowed, share.left + share.undrawn, max(1, reset))

    async def _draw(self, key: str, share: _Share) -> bool:
        """Draw a share, in one round trip; return False when the store is away."""
        if time.monotonic() < self._away_until:
            return False
        name = self._rate.key_for(self.name, share.window, key)
        try:
            async with translate_errors(), asyncio.timeout(_COUNT_TIMEOUT):
                drawn = await self._storage.incr(name, self.seconds, amount=self._part)
        except StoreUnavailable as error:
            self._away_until = time.monotonic() + _STORE_RETRY_INTERVAL
            log.warning("requests are not counted for %.0f s: %s", _STORE_RETRY_INTERVAL, error)
            return False
        share.left = max(0, min(self._part, self.amount - (drawn - self._part)))
        share.undrawn = max(0, self.amount - drawn)
        return True


class Limits:
    """`Limits` holds the quotas for users and for addresses; None stands for no limit."""

    def __init__(self, *, users: Quota | None, addresses: Quota | None) -> None:
        self._users = users
        self._addresses = addresses

    async def user(self, request: Request, user_id: str) -> None:
        """Count a request with a valid token of this user. Raises `ApiError` (429)."""
        if self._users is None:
            return
        status = await self._users.take(user_id)
        if status is None:
            return
        if not status.allowed:
            raise _exceeded(self._users, status, "you have", "BATON_RATE_PER_USER")
        request.scope[_QUOTA_STATUS] = status

    async def anonymous(self, request: Request) -> None:
        """Count a request without a valid token. Raises `ApiError` (429)."""
        if self._addresses is None or request.client is None:  # None: a unix socket
            return
        status = await self._addresses.take(address(request.client.host))
        if status and not status.allowed:
            who = "your address has, without a valid token,"
            raise _exceeded(self._addresses, status, who, "BATON_RATE_PER_ADDRESS")

    def add_headers(self, request: Request, response: Response) -> None:
        """Add the RateLimit fields to a response, when the request counted for a user."""
        status: QuotaStatus | None = request.scope.get(_QUOTA_STATUS)
        if status is None or self._users is None:
            return
        policy, quota = self._users.name, self._users
        headers = response.headers
        headers.append("RateLimit-Policy", f'"{policy}";q={quota.amount};w={quota.seconds}')
        headers.append("RateLimit", f'"{policy}";r={status.remaining};t={status.reset}')


def address(host: str) -> str:
    """Return what counts as one address: for IPv6 the /64, which belongs to one customer."""
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found.packed, 64), strict=False))


def _exceeded(quota: Quota, status: QuotaStatus, who: str, setting: str) -> ApiError:
    return quota_exceeded(
        Code.TOO_MANY,
        f"{who} made {quota.amount} requests in {quota.seconds} s, which is the limit here: try "
        f"again in {status.reset} s. {setting} is the setting",
        policy=quota.name,
        quota=quota.amount,
        wait=status.reset,
        window=quota.seconds,
    )
