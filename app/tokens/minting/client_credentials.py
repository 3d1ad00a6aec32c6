"""Build tokens from an OAuth provider, by the client credentials grant (RFC 6749 §4.4).

The request carries `user_id` and `build_id` as further members; the provider turns them into claims
(at Auth0: an Action on the machine-to-machine flow). A provider may ignore what it does not know;
then the token that comes back does not fit and is refused here.
"""

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, Literal, NoReturn

import httpx

from app.tokens.errors import ProviderRefused, ProviderUnavailable, UnfitToken
from app.tokens.minting import MintedToken, MintRequest
from app.tokens.minting.fit import accept
from app.tokens.strict_json import parse_object
from app.tokens.verifier import Verifier

#: Bytes of a token endpoint's largest answer; a token itself has 8 KB at most.
_MAX_ANSWER: Final = 64 * 1024

#: Characters of a provider's own words that go into a message.
_MAX_WORDS: Final = 200

#: Answers after which the same request may succeed a moment later.
_PASSING: Final = frozenset({408, 425, 429, 500, 502, 503, 504})


class _Retry(Exception):
    """One attempt failed in passing."""

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


class ClientCredentialsMinter:
    """A `TokenMinter`. `http` stays its owner's; all times are in seconds.

    What fails in passing (429, 5xx, connections, slow answers) is tried again within `deadline`. A
    request whose answer was lost may have been served: that token is never used.
    """

    def __init__(
        self,
        token_url: str,
        client_id: str,
        client_secret: str,
        audience: str,
        http: httpx.AsyncClient,
        verifier: Verifier,
        *,
        body: Literal["json", "form"] = "json",
        deadline: float = 20.0,
        attempts: int = 4,
        backoff: float = 0.5,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`backoff` is the pause after the first failure, doubled after each further one."""
        self._token_url = httpx.URL(token_url)
        self._client_id = client_id
        self._client_secret = client_secret
        self._audience = audience
        self._http = http
        self._verifier = verifier
        self._body = body
        self._deadline = deadline
        self._attempts = attempts
        self._backoff = backoff
        self._clock = clock

    def __repr__(self) -> str:
        return f"ClientCredentialsMinter(token_url={str(self._token_url)!r})"

    async def mint(self, request: MintRequest) -> MintedToken:
        """See `TokenMinter`."""
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
                # Half of what is left: one answer that never comes must not use up the deadline.
                async with asyncio.timeout((left - pause) / 2):
                    answer = await self._ask(request)
                unverified_raw = self._token_of(answer)
            except TimeoutError:
                last = _Retry("it did not answer in time")
            except httpx.TransportError as error:
                last = _Retry(f"it cannot be reached ({type(error).__name__})")
            except _Retry as error:
                last = error
            else:
                return await accept(self._verifier, unverified_raw, request, asked_at=asked_at)
        raise self._unavailable(last)

    async def close(self) -> None:
        """Nothing was opened."""

    def _pause(self, attempt: int, last: _Retry | None) -> float:
        if last is None:
            return 0.0
        jittered = self._backoff * 2.0 ** (attempt - 1) * random.uniform(0.5, 1.5)  # noqa: S311
        return max(jittered, last.after or 0.0)

    def _unavailable(self, last: _Retry | None) -> ProviderUnavailable:
        why, after = (last.why, last.after) if last else ("there was no time to ask it", None)
        return ProviderUnavailable(f"no token from {self._token_url}: {why}", after)

    async def _ask(self, request: MintRequest) -> _Answer:
        members = {
            "grant_type": "client_credentials",
            "client_id": self._client_id,
            "client_secret": self._client_secret,
            "audience": self._audience,
            "user_id": request.user_id,
            "build_id": request.build_id,
        }
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        body: dict[str, Any] = {"json": members} if self._body == "json" else {"data": members}
        async with self._http.stream(
            "POST",
            self._token_url,
            headers=headers,
            timeout=self._deadline,
            follow_redirects=False,  # the secret goes to the host that was configured
            **body,
        ) as response:
            answer = bytearray()
            async for chunk in response.aiter_raw():
                answer += chunk
                if len(answer) > _MAX_ANSWER:
                    raise _Retry(f"its answer is larger than {_MAX_ANSWER} bytes")
            return _Answer(
                status=response.status_code,
                retry_after=self._retry_after(response.headers.get("Retry-After")),
                body=bytes(answer),
            )

    def _retry_after(self, value: str | None) -> float | None:
        """RFC 9110 §10.2.3: seconds, or an HTTP date."""
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

    def _token_of(self, answer: _Answer) -> str:
        """The token in an answer. Raises `_Retry` and what `mint` raises."""
        said = answer.json()
        if answer.status in _PASSING or answer.status >= httpx.codes.INTERNAL_SERVER_ERROR:
            raise _Retry(f"it answered {answer.status}{self._words(said)}", answer.retry_after)
        if answer.status != httpx.codes.OK:
            self._refused(answer.status, said)
        if said is None:
            raise _Retry("its answer is not JSON")  # a page from something in between
        token, token_type = said.get("access_token"), said.get("token_type")
        if not isinstance(token, str) or not token:
            raise ProviderRefused(
                f"{self._token_url} answers without an access_token: is it a token endpoint? "
                "(BATON_MINT_TOKEN_URL)"
            )
        if not isinstance(token_type, str) or token_type.lower() != "bearer":  # RFC 6749 §5.1
            raise UnfitToken(
                "the provider did not issue a bearer token: turn off sender constraining "
                "(DPoP, mTLS) for this client at the provider"
            )
        return token

    def _refused(self, status: int, said: Mapping[str, Any] | None) -> NoReturn:
        words = self._words(said)
        if words:
            raise ProviderRefused(f"the provider refused ({status}){words}")
        raise ProviderRefused(
            f"{self._token_url} answered {status} without an OAuth error: is it the provider's "
            "token endpoint? (BATON_MINT_TOKEN_URL)"
        )

    def _words(self, said: Mapping[str, Any] | None) -> str:
        """The provider's `error` and `error_description` (RFC 6749 §5.2), fit for a log line."""
        if said is None:
            return ""
        parts = [said.get("error"), said.get("error_description")]
        words = ": ".join(part for part in parts if isinstance(part, str) and part)
        words = words.replace(self._client_secret, "***") if self._client_secret else words
        words = "".join(c if c.isprintable() else " " for c in words)
        return f": {words[:_MAX_WORDS]}" if words else ""
