"""The JWKS cache fetches an issuer's public keys over HTTP, and keeps them when a fetch fails.

PyJWT's own client blocks the event loop, reads without bound and loses its keys when a fetch fails.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from typing import Final

import httpx

from app.tokens.errors import KeysUnavailable
from app.tokens.keys import KeySet, VerificationKey
from app.tokens.strict_json import parse_object

log = logging.getLogger(__name__)

#: Seconds of pause after the first failure, doubled with each further one up to the last.
_FAILURE_DELAY: Final = (1.0, 60.0)


class JwksCache:
    """A `JwksCache` is the `KeySource` of the key set at `url`.

    - One fetch at a time, in a task of its own, bounded in time (however slowly the body arrives)
      and size. A caller that is cancelled does not cancel it.
    - A key set older than `soft_ttl` is refreshed in the background while it stays in use; one
      older than `hard_ttl` is not used any more.
    - An unknown `kid` leads to one fetch in `unknown_kid_interval` at most, whatever its outcome.
    - A failed fetch changes nothing but the time of the next one.

    Safe to call from any number of tasks of one event loop at once; `close` comes last.
    """

    def __init__(
        self,
        url: str,
        http: httpx.AsyncClient,
        algorithms: frozenset[str],
        *,
        clock: Callable[[], float] = time.monotonic,
        soft_ttl: float = 600,
        hard_ttl: float = 24 * 3600,
        deadline: float = 5,
        max_bytes: int = 256 * 1024,
        unknown_kid_interval: float = 30,
    ) -> None:
        """Fetch nothing yet. All times are in seconds."""
        self._url = httpx.URL(url)
        self._http = http
        self._algorithms = algorithms
        self._clock = clock
        self._soft_ttl = soft_ttl
        self._hard_ttl = hard_ttl
        self._deadline = deadline
        self._max_bytes = max_bytes
        self._unknown_kid_interval = unknown_kid_interval
        self._keys = KeySet(())
        self._fetched_at: float | None = None
        self._next_for_unknown_kid = float("-inf")
        self._failures = 0
        self._not_before = float("-inf")
        self._fetching: asyncio.Task[None] | None = None

    async def key(self, kid: str | None, algorithm: str) -> VerificationKey:
        """See `KeySource`."""
        had_keys = self._age() is not None
        await self._load()
        if had_keys and kid is not None and kid not in self._keys:
            await self._fetch_for_unknown_kid(kid)
        return self._keys.get(kid, algorithm)

    async def ready(self) -> bool:
        """Return whether there are keys to verify with; fetch them when there are none yet."""
        try:
            await self._load()
        except KeysUnavailable:
            return False
        return True

    async def close(self) -> None:
        if self._fetching:
            self._fetching.cancel()
            await asyncio.gather(self._fetching, return_exceptions=True)

    async def _load(self) -> None:
        """Make sure that there are keys. Raises `KeysUnavailable`."""
        age = self._age()
        if age is None or age > self._hard_ttl:
            if self._clock() >= self._not_before:
                await self._fetch()
            age = self._age()
            if age is None or age > self._hard_ttl:
                raise KeysUnavailable(max(1.0, self._not_before - self._clock()))
        elif age > self._soft_ttl and self._clock() >= self._not_before:
            self._start_fetch()

    def _age(self) -> float | None:
        return None if self._fetched_at is None else self._clock() - self._fetched_at

    async def _fetch_for_unknown_kid(self, kid: str) -> None:
        """Fetch the keys for a `kid` that may be new, at most once in `unknown_kid_interval`.

        Raises `KeysUnavailable` while fetches fail.
        """
        if self._fetching is not None:
            await self._fetch()
        now = self._clock()
        if kid not in self._keys and now >= max(self._next_for_unknown_kid, self._not_before):
            self._next_for_unknown_kid = now + self._unknown_kid_interval
            await self._fetch()
        if kid not in self._keys and self._failures:
            # The token may be valid: the issuer may publish this key while we cannot fetch it.
            next_fetch = max(self._next_for_unknown_kid, self._not_before)
            raise KeysUnavailable(max(1.0, next_fetch - self._clock()))

    def _start_fetch(self) -> asyncio.Task[None]:
        if self._fetching is None:
            self._fetching = asyncio.create_task(self._refresh(), name="jwks")
        return self._fetching

    async def _fetch(self) -> None:
        """Wait for the one fetch; cancelling the caller does not cancel the fetch."""
        await asyncio.shield(self._start_fetch())

    async def _refresh(self) -> None:
        try:
            async with asyncio.timeout(self._deadline):
                keys = await self._download()
        except (httpx.HTTPError, ValueError, TimeoutError) as error:
            self._failures += 1
            least, most = _FAILURE_DELAY
            pause = min(most, least * 2.0 ** min(self._failures - 1, 10))
            self._not_before = self._clock() + pause * random.uniform(0.75, 1.25)  # noqa: S311  jitter
            log.warning("no keys from %s: %s (%s)", self._url, error, type(error).__name__)
        else:
            self._keys = keys
            self._fetched_at = self._clock()
            self._failures = 0
            self._not_before = float("-inf")
        finally:
            self._fetching = None

    async def _download(self) -> KeySet:
        """Return the key set. Raises `ValueError` for a response without a key that we can use."""
        headers = {
            "Accept": "application/jwk-set+json, application/json",
            "Accept-Encoding": "identity",  # what arrives is as large as what is kept
        }
        body = bytearray()
        async with self._http.stream(
            "GET",
            self._url,
            headers=headers,
            timeout=self._deadline,
            follow_redirects=False,  # keys come from the host that was configured
        ) as answer:
            if answer.status_code != httpx.codes.OK:
                raise ValueError(f"status {answer.status_code}")
            async for chunk in answer.aiter_raw():
                body += chunk
                if len(body) > self._max_bytes:
                    raise ValueError(f"more than {self._max_bytes} bytes")
        keys = KeySet.from_jwks(parse_object(bytes(body)), self._algorithms)
        if not len(keys):
            raise ValueError("no usable key")
        return keys
