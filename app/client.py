"""The command line and the end-to-end tests call the API through this typed client.

ClientError
├── ApiError      the API answered with an error; carries its problem details
├── SignedOut     there is no token to call the API with; a `TokenSource` raises it
└── Unreachable   the API did not answer, or something else did, and retries did not help
"""

import time
import uuid
from collections.abc import Callable, Generator, Iterator, Sequence
from http import HTTPStatus
from types import TracebackType
from typing import Any, Final, Protocol, Self, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError

from app.contract import paths
from app.contract.builds import BuildPage, BuildView
from app.contract.problems import MEDIA_TYPE, Code, Problem
from app.contract.spec import BuildSpec
from app.contract.status import Status
from app.errors import BatonError
from app.tls import context_for

#: Seconds before each retry of a call; together they outlast a restart of the API.
_RETRY_INTERVALS: Final = (0.2, 0.5, 1.0, 2.0, 4.0)
#: Seconds for which a follower tries to reconnect, and the most between two tries.
_RECONNECT_TIMEOUT: Final = 300.0
_MAX_RECONNECT_INTERVAL: Final = 5.0
#: Seconds of silence after which a follower takes its connection for dead, and opens another.
_SILENCE_TIMEOUT: Final = 60.0
#: The most seconds of a `Retry-After` that are waited for.
_MAX_RETRY_AFTER: Final = 30.0

_TIMEOUT: Final = httpx.Timeout(30.0, connect=5.0)

_ACCEPT: Final = {"Accept": f"application/json, {MEDIA_TYPE}"}

_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})

#: Statuses after which a call is tried again.
_RETRYABLE: Final = frozenset(
    {
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
        HTTPStatus.TOO_MANY_REQUESTS,
    }
)

M = TypeVar("M", bound=BaseModel)


class ClientError(BatonError):
    """A call of the API did not succeed."""


class ApiError(ClientError):
    """The API answered with a problem; `problem` has its details (RFC 9457)."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(problem.detail)

    def format_message(self) -> str:
        wrong = [f"  {item.pointer or '/'}: {item.detail}" for item in self.problem.errors or ()]
        return "\n".join([f"{self} ({self.problem.status})", *wrong])


class SignedOut(ClientError):
    """There is no valid token; the message says how to get one."""


class Unreachable(ClientError):
    """The API cannot be reached, or what answers is not the API."""


class TokenSource(Protocol):
    """A `TokenSource` gives access tokens; any thread may ask it, before each request."""

    def current(self) -> str:
        """Return the token to send.

        Raises `SignedOut`; or `Unreachable`, after which a retry may succeed.
        """

    def other_than(self, refused: str) -> str | None:
        """Return another token than `refused`, which the API answered with 401; None without one.

        Raises as `current` does.
        """


class StaticToken:
    """A `StaticToken` is a source whose one token is never renewed."""

    def __init__(self, token: str) -> None:
        self._token = token

    def current(self) -> str:
        return self._token

    def other_than(self, refused: str) -> str | None:
        del refused
        return None


class _Bearer(httpx.Auth):
    """Sends the token (RFC 6750 §2.1), and once more with another when the first is refused."""

    def __init__(self, source: TokenSource) -> None:
        self._source = source

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        token = self._source.current()
        request.headers["Authorization"] = f"Bearer {token}"
        response = yield request
        if response.status_code == HTTPStatus.UNAUTHORIZED:
            other = self._source.other_than(token)
            if other is not None:
                request.headers["Authorization"] = f"Bearer {other}"
                yield request


class BatonClient:
    """A `BatonClient` makes the calls of one user. Threads may share it.

    Close it after use, or use it in a `with`. Calls raise `ApiError`, `SignedOut` or `Unreachable`.
    """

    def __init__(
        self,
        api_url: str,
        token: str | TokenSource,
        *,
        http: httpx.Client | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.api_url = api_url.rstrip("/")
        self._auth = _Bearer(StaticToken(token) if isinstance(token, str) else token)
        # A loopback address is never reached by a proxy.
        loopback = httpx.URL(self.api_url).host in _LOOPBACK
        self._http = http or httpx.Client(
            timeout=_TIMEOUT,
            trust_env=not loopback,
            verify=context_for(self.api_url, trust_env=not loopback),
        )
        self._sleep = sleep

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def submit(self, spec: BuildSpec, *, idempotency_key: str | None = None) -> BuildView:
        """Submit a build.

        Without a key, a new one is made. Retries send the same key, and so make no second build.
        """
        body = spec.model_dump(mode="json", exclude_defaults=True)
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        return self._call(BuildView, "POST", paths.BUILDS, json=body, headers=headers)

    def list(
        self,
        *,
        status: Status | None = None,
        labels: Sequence[str] = (),
        limit: int = 20,
        cursor: str | None = None,
    ) -> BuildPage:
        """Return a page of the user's builds, newest first; `next` is the cursor of the next one.

        With `labels` (`name` or `name:value`), the page has only builds with all of them, and may
        be empty although there is a next one.
        """
        wanted = {"status": status, "limit": limit, "cursor": cursor}
        params: dict[str, str | Sequence[str]] = {
            name: str(value) for name, value in wanted.items() if value is not None
        }
        params["label"] = labels
        return self._call(BuildPage, "GET", paths.BUILDS, params=params)

    def show(self, build_id: str) -> BuildView:
        return self._call(BuildView, "GET", _path(paths.BUILD, build_id))

    def cancel(self, build_id: str) -> BuildView:
        """Cancel a build: at once when it is queued, else as soon as its worker learns of it."""
        return self._call(BuildView, "POST", _path(paths.CANCEL, build_id))

    def retry(self, build_id: str, *, idempotency_key: str | None = None) -> BuildView:
        """Submit a new build with the spec of another; the key is used as in `submit`."""
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        return self._call(BuildView, "POST", _path(paths.RETRY, build_id), headers=headers)

    def log(
        self,
        build_id: str,
        *,
        start: int = 0,
        follow: bool = False,
        notice: Callable[[str], None] | None = None,
    ) -> Iterator[bytes]:
        """Yield the log's bytes from byte `start` on, as they arrive.

        With `follow`, the log goes on until the build has ended. A connection that breaks is opened
        again at the byte reached, so that no byte is lost or repeated; when that takes several
        seconds, `notice` is called with a sentence about it. Raises `ApiError`, or `Unreachable`
        when the API stays away.
        """
        backoff = _Backoff(build_id, self._sleep, notice)
        while True:
            try:
                for piece in self._log_once(build_id, start, follow=follow):
                    backoff.reset()
                    start += len(piece)
                    yield piece
                if not follow or self._is_whole(build_id, start):
                    return
            except (httpx.TransportError, Unreachable) as error:
                if not follow:
                    raise _unreachable(self.api_url, error) from error
                backoff.wait(error)
            except ApiError as error:
                if not follow or error.problem.status not in _RETRYABLE:
                    raise
                backoff.wait(error)
            else:
                # The stream ended before the build: it was silent too long, or a proxy cut it off.
                backoff.reset()
                self._sleep(_RETRY_INTERVALS[0])

    def _is_whole(self, build_id: str, length: int) -> bool:
        build = self.show(build_id)
        return build.status.final and length >= build.log.length

    def _log_once(self, build_id: str, start: int, *, follow: bool) -> Iterator[bytes]:
        headers = _ACCEPT | ({"Range": f"bytes={start}-"} if start else {})
        timeout = httpx.Timeout(_SILENCE_TIMEOUT, connect=5.0)
        params = {"follow": "1"} if follow else {}
        url = self.api_url + _path(paths.LOG, build_id)
        with self._http.stream(
            "GET", url, headers=headers, params=params, timeout=timeout, auth=self._auth
        ) as response:
            if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and not follow:
                return  # the log has no byte from `start` on
            if not response.is_success:
                response.read()
                raise _error(response)
            # A proxy may have dropped the Range; the whole log comes again then.
            surplus = start if response.status_code == HTTPStatus.OK else 0
            try:
                for piece in response.iter_bytes():
                    wanted, surplus = piece[surplus:], max(0, surplus - len(piece))
                    if wanted:
                        yield wanted
            except httpx.ReadTimeout:
                if not follow:
                    raise

    def _call(
        self,
        model: type[M],
        method: str,
        path: str,
        *,
        headers: dict[str, str] | None = None,
        **request: Any,  # noqa: ANN401  httpx's own arguments
    ) -> M:
        """Make a call, with retries while the API is away; every call is safe to repeat."""
        headers = _ACCEPT | (headers or {})
        url = self.api_url + path
        pauses = iter(_RETRY_INTERVALS)
        while True:
            try:
                response = self._http.request(
                    method, url, headers=headers, auth=self._auth, **request
                )
            except (httpx.TransportError, Unreachable) as error:  # the API, or the issuer
                pause = next(pauses, None)
                if pause is None:
                    raise _unreachable(self.api_url, error) from error
            except (httpx.InvalidURL, UnicodeEncodeError) as error:
                raise Unreachable(f"{url} cannot be asked for: {error}") from error
            else:
                if response.is_success:
                    return _parsed(model, response)
                pause = next(pauses, None)
                refusal = _error(response)
                if pause is None or response.status_code not in _RETRYABLE or _is_full(refusal):
                    raise refusal
                pause = _retry_after(response, pause)
            self._sleep(pause)


class _Backoff:
    """A `_Backoff` makes a follower wait while the API is away, longer each time."""

    def __init__(
        self, build_id: str, sleep: Callable[[float], None], notice: Callable[[str], None] | None
    ) -> None:
        self._build_id = build_id
        self._sleep = sleep
        self._notice = notice
        self.reset()

    def reset(self) -> None:
        self._end: float | None = None
        self._pause = _RETRY_INTERVALS[0]

    def wait(self, error: Exception) -> None:
        """Wait before the next try. Raises `Unreachable` after `_RECONNECT_TIMEOUT` seconds."""
        now = time.monotonic()
        if self._end is None:
            self._end = now + _RECONNECT_TIMEOUT
        if now > self._end:
            raise Unreachable(f"lost the log of {self._build_id}: {error}") from error
        if self._notice and self._pause >= _MAX_RECONNECT_INTERVAL:
            self._notice(f"waiting for the API: {error or type(error).__name__}")
        self._sleep(self._pause)
        self._pause = min(self._pause * 2, _MAX_RECONNECT_INTERVAL)


def _path(template: str, build_id: str) -> str:
    return paths.of(template, quote(build_id, safe=""))


def _parsed(model: type[M], response: httpx.Response) -> M:
    try:
        return model.model_validate_json(response.content)
    except ValidationError as error:
        raise Unreachable(f"{response.url} does not answer like the Baton API") from error


def _error(response: httpx.Response) -> ClientError:
    media_type = response.headers.get("content-type", "").partition(";")[0].strip()
    if media_type == MEDIA_TYPE:
        try:
            return ApiError(Problem.model_validate_json(response.content))
        except ValidationError:
            pass
    return Unreachable(f"{response.url} answered {response.status_code}, and not as the Baton API")


def _is_full(refusal: ClientError) -> bool:
    """Return whether the user's queue is full; it stays so until a build ends, so do not retry."""
    return isinstance(refusal, ApiError) and refusal.problem.code is Code.QUEUE_FULL


def _retry_after(response: httpx.Response, otherwise: float) -> float:
    """Return the seconds of `Retry-After` (RFC 9110 §10.2.3), bounded; `otherwise` without them."""
    value = response.headers.get("retry-after", "")
    return min(float(value), _MAX_RETRY_AFTER) if value.isascii() and value.isdigit() else otherwise


def _unreachable(api_url: str, error: Exception) -> Unreachable:
    if isinstance(error, Unreachable):
        return error
    return Unreachable(f"cannot reach the API at {api_url}: {error or type(error).__name__}")
