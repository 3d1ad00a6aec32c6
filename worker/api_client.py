"""The worker's calls to the API, each repeated until there is a verdict or no time is left.

A verdict is only what the API itself said: an answer of the contract's shape, or problem details
with a code of ours. A 403, 404 or 502 of something in between, an HTML page, a redirect or silence
is transient, and is tried again.
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
_ANSWER_TIMEOUT: Final = 15.0  #: between two pieces of an answer
_HELD_ANSWER_MARGIN: Final = (
    5.0  #: for an answer that was held, after its time; a third of a lease is left
)
_WHOLE_ANSWER_TIMEOUT: Final = 30.0  #: seconds for all of them, however slowly they drip
#: Seconds for which a connection waits for its next call; less than servers and proxies allow.
_KEEP_ALIVE_TIMEOUT: Final = 4.0
_MIN_RETRY_INTERVAL: Final = 0.2
_MAX_RETRY_INTERVAL: Final = 5.0
#: An API that has not yet fetched a rotated key says `invalid-token` for up to half a minute.
KEY_ROTATION_TIMEOUT: Final = 45.0
_MAX_ANSWER_BYTES: Final = 4 * 1024 * 1024  #: bytes; the largest is a claim with its spec

#: What ends the run for good.
_LOST_CODES: Final = frozenset(
    {
        Code.MISSING_TOKEN, Code.SUPERSEDED_TOKEN, Code.INSUFFICIENT_SCOPE, Code.WRONG_TOKEN_KIND,
        Code.WRONG_BUILD, Code.NOT_FOUND, Code.HELD_BY_ANOTHER, Code.LEASE_LOST, Code.BUILD_FINAL,
        Code.RESULT_CONFLICT,
    }
)  # fmt: skip

#: What a repetition can cure.
_TRANSIENT_CODES: Final = frozenset({Code.TOO_SLOW, Code.TOO_MANY, Code.INTERNAL, Code.UNAVAILABLE})


class InvalidToken(LeaseLost):
    """The API does not take the token; perhaps only until it has the issuer's new keys."""


class SendFrom(RunError):
    """The API wants the log from byte `end` on (412, 416)."""

    def __init__(self, end: int) -> None:
        self.end = end
        super().__init__(f"the API's log ends at byte {end}")


class LogIsFull(RunError):
    """The API takes no more log for this attempt; it has `end` bytes."""

    def __init__(self, end: int) -> None:
        self.end = end
        super().__init__(f"the log is full at byte {end}")


class TransientError(RunError):
    """No verdict. `retry_after` in seconds, where the answer named it."""

    def __init__(self, detail: str, retry_after: float = 0.0) -> None:
        self.retry_after = retry_after
        super().__init__(detail)


class _Credentials(httpx.Auth):
    """The token on each request, with a new proof where it is bound to a key."""

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
    """Connections of a process to the API, for all of its builds and threads.

    They are kept for the next build: making a TLS context costs more than a short build. Not to be
    made before a fork. They carry no cookies from one build to the next.
    """
    nobody = DefaultCookiePolicy(allowed_domains=[])
    return httpx.Client(
        base_url=api_url.rstrip("/"),
        headers={"Accept-Encoding": "identity"},
        cookies=CookieJar(nobody),
        timeout=httpx.Timeout(_ANSWER_TIMEOUT, connect=_CONNECT_TIMEOUT),
        verify=context_for(api_url),
        limits=httpx.Limits(keepalive_expiry=_KEEP_ALIVE_TIMEOUT),
        follow_redirects=False,
    )


class RunApi:
    """One build's calls; may be used from several threads.

    Every call raises `LeaseLost` when the API says that the build is not this worker's any more.
    A token that the API does not take is transient for the first `key_rotation_timeout` seconds.
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
        """`http` are the process' `connections`. With `proof_key` the token is one that is bound to
        it (RFC 9449)."""
        self._build_id = build_id
        self._lease: dict[str, str] = {}
        self._key_rotation_timeout = key_rotation_timeout
        self._distrusted_since: float | None = None
        self._stopped = threading.Event()
        self._http = http
        self._credentials = _Credentials(token, proof_key)

    def close(self) -> None:
        """Repeat no call any more."""
        self._stopped.set()

    def claim(self, request: ClaimRequest, *, deadline: float) -> Claim:
        """Claim the build, until `deadline` (monotonic). Later calls carry its lease."""
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
        """A heartbeat, once; the API may hold it for `wait` seconds, until it has an order.

        Returns what it said, and for how many seconds it would have waited. Raises
        `TransientError`.
        """
        directive, headers = self._answered(
            "POST",
            paths.HEARTBEAT,
            Directive,
            headers={prefer.PREFER: prefer.format_wait(wait)} if wait else {},
            patience=wait + _HELD_ANSWER_MARGIN if wait else _ANSWER_TIMEOUT,
            traced=False,
        )
        return directive, prefer.parse_wait(headers.get(prefer.PREFERENCE_APPLIED, ""))

    def tell(self, progress: Progress) -> Directive:
        """The steps so far, once. Raises `TransientError`."""
        return self._once(
            "PUT",
            paths.BUILD,
            Directive,
            content=progress.model_dump_json().encode(),
            traced=False,
        )

    def append_log(self, offset: int, data: bytes) -> Appended:
        """Send log bytes, once. Raises `SendFrom`, `LogIsFull`, `TransientError`."""
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
        """Give the build to another worker, until `deadline`."""
        self._until(
            deadline,
            "PUT",
            paths.BUILD,
            Directive,
            content=Handback().model_dump_json().encode(),
        )

    def report(self, result: Result, *, deadline: float) -> None:
        """Report the end, until `deadline`. Raises `SendFrom` when the log is not all there, and
        `LogIsFull` when there is no room for the rest of it."""
        self._until(
            deadline, "PUT", paths.BUILD, Directive, content=result.model_dump_json().encode()
        )

    def _until(
        self, deadline: float, method: str, path: str, model: type[M], *, content: bytes
    ) -> M:
        """Repeat a call until there is a verdict. Raises `ReportImpossible` at the deadline."""
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
        """Once. Without `traced`, the API makes no span of it: there are too many such calls."""
        said, _ = self._answered(
            method, path, model, content=content, headers=headers, traced=traced
        )
        return said

    def _answered(
        self,
        method: str,
        path: str,
        model: type[M],
        *,
        content: bytes = b"",
        headers: dict[str, str] | None = None,
        patience: float = _ANSWER_TIMEOUT,
        traced: bool,
    ) -> tuple[M, httpx.Headers]:
        """The same with the answer's headers; it is waited for `patience` seconds at a time."""
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
                timeout=httpx.Timeout(patience, connect=_CONNECT_TIMEOUT),
            ) as answer:
                body = _read(answer)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise TransientError(f"{method} {path}: {type(error).__name__}") from None
        try:
            said = verdict(answer, body, model)
        except InvalidToken as error:
            raise self._borne_with(error) from None
        except (SendFrom, LogIsFull):
            self._distrusted_since = None
            raise
        self._distrusted_since = None
        return said, answer.headers

    def _borne_with(self, error: InvalidToken) -> TransientError:
        """The same as transient, as long as keys may be changing. Raises `error` after that."""
        now = time.monotonic()
        self._distrusted_since = self._distrusted_since or now
        if now - self._distrusted_since > self._key_rotation_timeout:
            raise error
        return TransientError(str(error))


def _read(answer: httpx.Response) -> bytes:
    """The body. Raises `TransientError` when it is larger or slower than any answer of ours."""
    end = time.monotonic() + _WHOLE_ANSWER_TIMEOUT
    body = b""
    for piece in answer.iter_bytes():
        body += piece
        if len(body) > _MAX_ANSWER_BYTES or time.monotonic() > end:
            raise TransientError(f"status {answer.status_code}, and a body without end")
    return body


def verdict(answer: httpx.Response, body: bytes, model: type[M]) -> M:
    """What an answer says. Raises `LeaseLost`, `SendFrom`, `LogIsFull`, or `TransientError`."""
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
    # The API understood this call and will refuse it each time: nothing that waiting cures.
    raise LeaseLost(f"{code}: {problem.detail}")


def _retry_after(answer: httpx.Response) -> float:
    """Seconds (RFC 9110 §10.2.3), bounded; dates are rare and not worth a clock's error."""
    value = answer.headers.get("retry-after", "")
    return min(60.0, float(value)) if re.fullmatch(r"\d{1,6}", value) else 0.0
