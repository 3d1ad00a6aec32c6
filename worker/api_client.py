"""`RunApi` makes the worker's calls to the API, and retries them until a verdict or a deadline.

A verdict is a response of the API itself: of the contract's shape, or problem details with a code
of ours. A 403, 404 or 502 of a proxy, an HTML page, a redirect or a timeout is transient, and the
call is retried.
"""

import logging
import random
import re
import threading
import time
from collections.abc import Generator
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Final, TypeVar

import httpx
from pydantic import ValidationError

from app.contract import dpop, paths, prefer
from app.contract.problems import MEDIA_TYPE, Code, Problem
from app.contract.runs import (
    LEASE_HEADER,
    Appended,
    Claim,
    ClaimRequest,
    Directive,
    Handback,
    Message,
    Progress,
    Result,
)
from app.observability import tracing
from app.tls import context_for
from worker.errors import LeaseLost, ReportImpossible, RunError

log = logging.getLogger(__name__)

M = TypeVar("M", bound=Message)

_CONNECT_TIMEOUT: Final = 5.0  #: seconds
_ANSWER_TIMEOUT: Final = 15.0  #: seconds between two reads of a response
#: Seconds that a held response may come after its time; a third of a lease is still left then.
_HELD_ANSWER_MARGIN: Final = 5.0
_WHOLE_ANSWER_TIMEOUT: Final = 30.0  #: seconds for a whole body, however slowly it arrives
#: Seconds for which an idle connection is kept; less than servers and proxies allow.
_KEEP_ALIVE_TIMEOUT: Final = 4.0
_MIN_RETRY_INTERVAL: Final = 0.2
_MAX_RETRY_INTERVAL: Final = 5.0
#: Seconds for which `invalid-token` is retried: an API that has not yet fetched a rotated key says
#: so for up to half a minute.
KEY_ROTATION_TIMEOUT: Final = 45.0
_MAX_ANSWER_BYTES: Final = 4 * 1024 * 1024  #: bytes; the largest is a claim with its spec

#: Codes that end the run for good.
_LOST_CODES: Final = frozenset(
    {
        Code.MISSING_TOKEN, Code.SUPERSEDED_TOKEN, Code.INSUFFICIENT_SCOPE, Code.WRONG_TOKEN_KIND,
        Code.WRONG_BUILD, Code.NOT_FOUND, Code.HELD_BY_ANOTHER, Code.LEASE_LOST, Code.BUILD_FINAL,
        Code.RESULT_CONFLICT,
    }
)  # fmt: skip

#: Codes that a retry can cure.
_TRANSIENT_CODES: Final = frozenset({Code.TOO_SLOW, Code.TOO_MANY, Code.INTERNAL, Code.UNAVAILABLE})


class InvalidToken(LeaseLost):
    """The API refuses the token, perhaps only until it has fetched the issuer's new keys."""


class SendFrom(RunError):
    """The API has the log up to byte `end`, and wants the rest (412, 416)."""

    def __init__(self, end: int) -> None:
        self.end = end
        super().__init__(f"the API's log ends at byte {end}")


class LogIsFull(RunError):
    """The API takes no more log for this attempt; it has `end` bytes."""

    def __init__(self, end: int) -> None:
        self.end = end
        super().__init__(f"the log is full at byte {end}")


class TransientError(RunError):
    """A call got no verdict. `retry_after` is in seconds, 0 where the response named none."""

    def __init__(self, detail: str, retry_after: float = 0.0) -> None:
        self.retry_after = retry_after
        super().__init__(detail)


class _Credentials(httpx.Auth):
    """`_Credentials` puts the token on each request, and a new proof where a key binds it."""

    def __init__(self, token: str, key: dpop.ProofKey | None) -> None:
        self._token = token
        self._key = key

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        if self._key is None:
            request.headers["Authorization"] = f"Bearer {self._token}"
        else:
            url = str(request.url.copy_with(query=None, fragment=None))
            proof = self._key.proof(request.method, url, self._token)
            request.headers["Authorization"] = f"{dpop.SCHEME} {self._token}"
            request.headers[dpop.HEADER] = proof
        yield request


def connections(api_url: str) -> httpx.Client:
    """Make a process' connection pool to the API, for all of its builds and threads.

    The pool outlives a build: making a TLS context costs more than a short build. Call this after
    the fork, never before. No cookies are kept, so none pass from one build to the next.
    """
    no_cookies = DefaultCookiePolicy(allowed_domains=[])
    return httpx.Client(
        base_url=api_url.rstrip("/"),
        headers={"Accept-Encoding": "identity"},
        cookies=CookieJar(no_cookies),
        timeout=httpx.Timeout(_ANSWER_TIMEOUT, connect=_CONNECT_TIMEOUT),
        verify=context_for(api_url),
        limits=httpx.Limits(keepalive_expiry=_KEEP_ALIVE_TIMEOUT),
        follow_redirects=False,
    )


class RunApi:
    """`RunApi` makes the calls of one build; safe to use from several threads.

    Every call raises `LeaseLost` when the API says that the build is not this worker's any more.
    A refused token counts as transient for the first `key_rotation_timeout` seconds.
    """

    def __init__(
        self,
        http: httpx.Client,
        *,
        build_id: str,
        token: str,
        proof_key: dpop.ProofKey | None = None,
        key_rotation_timeout: float = KEY_ROTATION_TIMEOUT,
    ) -> None:
        """Call through `http`, the process' `connections`; `proof_key` binds `token` (RFC 9449)."""
        self._build_id = build_id
        self._lease: dict[str, str] = {}
        self._key_rotation_timeout = key_rotation_timeout
        self._token_refused_since: float | None = None
        self._stopped = threading.Event()
        self._http = http
        self._credentials = _Credentials(token, proof_key)

    def close(self) -> None:
        """End all retries: a call without a verdict raises `ReportImpossible` at once."""
        self._stopped.set()

    def claim(self, request: ClaimRequest, *, deadline: float) -> Claim:
        """Claim the build; later calls carry its lease.

        Retries until `deadline` (seconds, monotonic), then raises `ReportImpossible`. With the
        same nonce, the claim may be repeated.
        """
        claim = self._until(
            deadline,
            "POST",
            paths.CLAIM,
            Claim,
            content=request.model_dump_json().encode(),
        )
        self._lease = {LEASE_HEADER: claim.lease_id}
        return claim

    def renew(self, wait: int = 0) -> tuple[Directive, int]:
        """Send one heartbeat, which the API may hold for `wait` seconds, until it has an order.

        Returns the directive, and the seconds for which the API was ready to hold the call, 0 when
        it was not (RFC 7240). Raises `TransientError`.
        """
        directive, headers = self._call(
            "POST",
            paths.HEARTBEAT,
            Directive,
            headers={prefer.PREFER: prefer.format_wait(wait)} if wait else {},
            read_timeout=wait + _HELD_ANSWER_MARGIN if wait else _ANSWER_TIMEOUT,
            traced=False,
        )
        return directive, prefer.parse_wait(headers.get(prefer.PREFERENCE_APPLIED, ""))

    def send_progress(self, progress: Progress) -> Directive:
        """Send the steps so far, once. Raises `TransientError`."""
        return self._once(
            "PUT",
            paths.BUILD,
            Directive,
            content=progress.model_dump_json().encode(),
            traced=False,
        )

    def append_log(self, offset: int, data: bytes) -> Appended:
        """Send `data` as the log's bytes from `offset` on, once.

        Raises `SendFrom`, `LogIsFull`, `TransientError`.
        """
        return self._once(
            "PATCH",
            paths.LOG,
            Appended,
            content=data,
            headers={
                "Content-Range": f"bytes {offset}-{offset + len(data) - 1}/*",
                "Content-Type": "application/octet-stream",
            },
            traced=False,
        )

    def hand_back(self, *, deadline: float) -> None:
        """Give the build up, for another worker to start.

        Retries until `deadline` (monotonic), then raises `ReportImpossible`.
        """
        self._until(
            deadline,
            "PUT",
            paths.BUILD,
            Directive,
            content=Handback().model_dump_json().encode(),
        )

    def report(self, result: Result, *, deadline: float) -> None:
        """Report the build's end; safe to repeat with the same result.

        Retries until `deadline` (monotonic), then raises `ReportImpossible`. Raises `SendFrom` when
        the API lacks a part of the log, and `LogIsFull` when it has no room for the rest.
        """
        self._until(
            deadline, "PUT", paths.BUILD, Directive, content=result.model_dump_json().encode()
        )

    def _until(
        self, deadline: float, method: str, path: str, model: type[M], *, content: bytes
    ) -> M:
        """Retry a call, with backoff, until a verdict. Raises `ReportImpossible` at `deadline`."""
        pause = _MIN_RETRY_INTERVAL
        while True:
            try:
                return self._once(method, path, model, content=content)
            except TransientError as error:
                transient = error
            wait = min(
                max(pause * random.uniform(0.7, 1.3), transient.retry_after),  # noqa: S311  jitter
                deadline - time.monotonic(),
            )
            if wait <= 0 or self._stopped.wait(wait):
                raise ReportImpossible(f"no verdict from the API in time: {transient}")
            pause = min(2 * pause, _MAX_RETRY_INTERVAL)

    def _once(
        self,
        method: str,
        path: str,
        model: type[M],
        *,
        content: bytes = b"",
        headers: dict[str, str] | None = None,
        traced: bool = True,
    ) -> M:
        """Make a call without a retry. Raises `TransientError` when it has no verdict.

        Without `traced`, the API records no span: there are too many such calls.
        """
        result, _ = self._call(method, path, model, content=content, headers=headers, traced=traced)
        return result

    def _call(
        self,
        method: str,
        path: str,
        model: type[M],
        *,
        content: bytes = b"",
        headers: dict[str, str] | None = None,
        read_timeout: float = _ANSWER_TIMEOUT,
        traced: bool,
    ) -> tuple[M, httpx.Headers]:
        """Do as `_once` does, and return the response's headers, too.

        `read_timeout` is in seconds, between two reads.
        """
        try:
            with self._http.stream(
                method,
                paths.of(path, self._build_id),
                content=content,
                headers={
                    "Content-Type": "application/json",
                    **tracing.carrier(recorded=traced),
                    **self._lease,
                    **(headers or {}),
                },
                auth=self._credentials,
                timeout=httpx.Timeout(read_timeout, connect=_CONNECT_TIMEOUT),
            ) as answer:
                body = _read(answer)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise TransientError(f"{method} {path}: {type(error).__name__}") from None
        try:
            result = verdict(answer, body, model)
        except InvalidToken as error:
            raise self._transient_while_keys_rotate(error) from None
        except (SendFrom, LogIsFull):
            self._token_refused_since = None
            raise
        self._token_refused_since = None
        return result, answer.headers

    def _transient_while_keys_rotate(self, error: InvalidToken) -> TransientError:
        """Return `error` as transient within `key_rotation_timeout`. Raises `error` after it."""
        now = time.monotonic()
        self._token_refused_since = self._token_refused_since or now
        if now - self._token_refused_since > self._key_rotation_timeout:
            raise error
        return TransientError(str(error))


def _read(answer: httpx.Response) -> bytes:
    """Read the body. Raises `TransientError` when it is larger or slower than any of the API's."""
    end = time.monotonic() + _WHOLE_ANSWER_TIMEOUT
    body = b""
    for piece in answer.iter_bytes():
        body += piece
        if len(body) > _MAX_ANSWER_BYTES or time.monotonic() > end:
            raise TransientError(f"status {answer.status_code}, and a body without end")
    return body


def verdict(answer: httpx.Response, body: bytes, model: type[M]) -> M:
    """Return the `model` in a response, if the API itself made it.

    Raises `LeaseLost`, `SendFrom` or `LogIsFull` for a problem with a code of ours, and
    `TransientError` for all else.
    """
    transient = TransientError(f"status {answer.status_code}", _retry_after(answer))
    media_type = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        if answer.is_success and media_type == "application/json":
            return model.model_validate_json(body)
        if not answer.is_error or media_type != MEDIA_TYPE:
            raise transient
        problem = Problem.model_validate_json(body)
    except ValidationError:
        raise transient from None
    code = problem.code
    if code is None or code in _TRANSIENT_CODES or problem.status != answer.status_code:
        raise transient
    if code in {Code.INVALID_TOKEN, Code.INVALID_PROOF}:
        raise InvalidToken(code)
    if code in _LOST_CODES:
        raise LeaseLost(code)
    if code in {Code.LOG_GAP, Code.LOG_INCOMPLETE} and problem.end is not None:
        raise SendFrom(problem.end)
    if code is Code.LOG_FULL and problem.end is not None:
        raise LogIsFull(problem.end)
    # The API understood this call and will refuse it each time: a retry cures nothing.
    raise LeaseLost(f"{code}: {problem.detail}")


def _retry_after(answer: httpx.Response) -> float:
    """Return `Retry-After` in seconds (RFC 9110 §10.2.3), 60 at most.

    A date counts as 0: it is rare, and would bring the error of a clock.
    """
    value = answer.headers.get("retry-after", "")
    return min(60.0, float(value)) if re.fullmatch(r"\d{1,6}", value) else 0.0
