"""The token endpoint client (RFC 6749 §3.2) retries until it has a response or the deadline passes.

It has what all grants share: authentication, limits, retries and the parsing of errors. Each grant
decides by itself whether the token fits.
"""

import asyncio
import random
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, Literal, NoReturn

import httpx

from app.minting import ProviderRefused, ProviderUnavailable, UnfitToken
from app.tokens.minting.client_authentication import ClientAuthentication
from app.tokens.strict_json import parse_object

#: Bytes of the largest response that is read; a token itself has 8 KB at most.
_MAX_ANSWER_BYTES: Final = 64 * 1024

#: Matches every JWT: a provider may repeat the one that it was sent.
_JWT: Final = re.compile(r"eyJ[\w-]+(\.[\w-]*)*")

#: Characters of a provider's error text that go into a message.
_MAX_WORDS: Final = 200

#: Statuses after which the same request may succeed a moment later.
_TRANSIENT_STATUSES: Final = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenAnswer:
    """A successful response (RFC 6749 §5.1); nothing in it has been verified."""

    unverified_token: str = field(repr=False)
    asked_at: float  #: seconds since 1970, just before the request was sent
    members: Mapping[str, Any] = field(repr=False)  #: of the response's JSON object


class _Retry(Exception):
    """One try failed transiently."""

    def __init__(self, why: str, after: float | None = None) -> None:
        self.why = why
        self.after = after  #: seconds that the provider asked to wait
        super().__init__(why)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Answer:
    status: int
    retry_after: float | None
    body: bytes

    def json(self) -> Mapping[str, Any] | None:
        try:
            return parse_object(self.body)
        except ValueError:
            return None


class TokenEndpoint:
    """A client of one token endpoint. Safe to call from any number of tasks at once; all times in
    seconds.

    Transient failures (429, 5xx, connections, slow responses) are retried within `deadline`. A
    request whose response was lost may have been served: that token is never used. `http` stays its
    owner's, who closes it.
    """

    def __init__(
        self,
        url: str,
        authentication: ClientAuthentication,
        http: httpx.AsyncClient,
        *,
        body: Literal["json", "form"] = "form",
        deadline: float = 20.0,
        attempts: int = 4,
        backoff: float = 0.5,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`backoff` is the pause after the first failure, doubled after each further one.

        `body`: RFC 6749 knows forms only; Auth0 takes JSON too, and its Actions see its types.
        """
        self.url = httpx.URL(url)
        self.authentication = authentication
        self._http = http
        self._body = body
        self._deadline = deadline
        self._attempts = attempts
        self._backoff = backoff
        self._clock = clock

    def __repr__(self) -> str:
        return f"TokenEndpoint(url={str(self.url)!r}, authentication={self.authentication!r})"

    async def ask(self, members: Mapping[str, str]) -> TokenAnswer:
        """Send `members` with the client's credentials, and return the provider's response.

        Raises `ProviderUnavailable`, `ProviderRefused` or `UnfitToken`.
        """
        last: _Retry | None = None
        ends = asyncio.get_running_loop().time() + self._deadline
        for attempt in range(self._attempts):
            left = ends - asyncio.get_running_loop().time()
            pause = self._pause(attempt, last)
            if left <= pause:
                break
            await asyncio.sleep(pause)
            asked_at = self._clock()
            try:
                # Half of the time left: one response that never comes must not use up the deadline.
                async with asyncio.timeout((left - pause) / 2):
                    answer = await self._request(members)
                return self._parse(answer, asked_at)
            except TimeoutError:
                last = _Retry("it did not answer in time")
            except httpx.TransportError as error:
                last = _Retry(f"it cannot be reached ({type(error).__name__})")
            except _Retry as error:
                last = error
        raise self._unavailable(last)

    def _pause(self, attempt: int, last: _Retry | None) -> float:
        if last is None:
            return 0.0
        jittered = self._backoff * 2.0 ** (attempt - 1) * random.uniform(0.5, 1.5)  # noqa: S311
        return max(jittered, last.after or 0.0)

    def _unavailable(self, last: _Retry | None) -> ProviderUnavailable:
        why, after = (last.why, last.after) if last else ("there was no time to ask it", None)
        return ProviderUnavailable(f"no token from {self.url}: {why}", after)

    async def _request(self, members: Mapping[str, str]) -> _Answer:
        # New credentials for each try: an assertion may be used once (RFC 7523 §3).
        credentials = self.authentication.credentials()
        content = {**members, **credentials.members}
        body: dict[str, Any] = {"json": content} if self._body == "json" else {"data": content}
        async with self._http.stream(
            "POST",
            self.url,
            headers={
                "Accept": "application/json",
                "Accept-Encoding": "identity",
                **credentials.headers,
            },
            timeout=self._deadline,
            follow_redirects=False,  # credentials go to the host that was configured
            **body,
        ) as response:
            answer = bytearray()
            async for chunk in response.aiter_raw():
                answer += chunk
                if len(answer) > _MAX_ANSWER_BYTES:
                    raise _Retry(f"its answer is larger than {_MAX_ANSWER_BYTES} bytes")
            return _Answer(
                status=response.status_code,
                retry_after=self._retry_after(response.headers.get("Retry-After")),
                body=bytes(answer),
            )

    def _retry_after(self, value: str | None) -> float | None:
        """Parse a `Retry-After` (RFC 9110 §10.2.3), in seconds or an HTTP date, into seconds from
        now."""
        if value is None:
            return None
        value = value.strip()
        if value.isascii() and value.isdigit():
            return float(value)
        try:
            date = parsedate_to_datetime(value)
        except ValueError:
            return None
        if date.tzinfo is None:
            date = date.replace(tzinfo=UTC)
        return max(0.0, date.timestamp() - datetime.fromtimestamp(self._clock(), UTC).timestamp())

    def _parse(self, answer: _Answer, asked_at: float) -> TokenAnswer:
        members = answer.json()
        if (
            answer.status in _TRANSIENT_STATUSES
            or answer.status >= httpx.codes.INTERNAL_SERVER_ERROR
        ):
            raise _Retry(
                f"it answered {answer.status}{self._error_text(members)}", answer.retry_after
            )
        if answer.status != httpx.codes.OK:
            self._raise_refused(answer.status, members)
        if members is None:
            raise _Retry("its answer is not JSON")  # a page from something in between
        token, token_type = members.get("access_token"), members.get("token_type")
        if not isinstance(token, str) or not token:
            raise ProviderRefused(
                f"{self.url} answers without an access_token: is it a token endpoint? "
                "(BATON_MINT_TOKEN_URL)"
            )
        if not isinstance(token_type, str) or token_type.lower() != "bearer":  # RFC 6749 §5.1
            raise UnfitToken(
                "the provider did not issue a bearer token: turn off sender constraining "
                "(DPoP, mTLS) for this client at the provider"
            )
        return TokenAnswer(unverified_token=token, asked_at=asked_at, members=members)

    def _raise_refused(self, status: int, members: Mapping[str, Any] | None) -> NoReturn:
        words = self._error_text(members)
        if words:
            raise ProviderRefused(f"the provider refused ({status}){words}")
        raise ProviderRefused(
            f"{self.url} answered {status} without an OAuth error: is it the provider's "
            "token endpoint? (BATON_MINT_TOKEN_URL)"
        )

    def _error_text(self, members: Mapping[str, Any] | None) -> str:
        """Return the provider's `error` and `error_description` (RFC 6749 §5.2), fit for a log
        line."""
        if members is None:
            return ""
        parts = [members.get("error"), members.get("error_description")]
        words = ": ".join(part for part in parts if isinstance(part, str) and part)
        words = _JWT.sub("***", self.authentication.redact(words))
        words = "".join(c if c.isprintable() else " " for c in words)
        return f": {words[:_MAX_WORDS]}" if words else ""
