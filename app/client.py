"""A typed client of the API, for the command line and the end-to-end tests.

ClientError
├── ApiError      the API said no; carries its problem details
├── SignedOut     there is no token to call it with; raised by what tokens come from
└── Unreachable   nobody sensible answered, and trying again did not help
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

#: Seconds between attempts at a call that may be repeated: a restart of the API fits in.
_RETRY_INTERVALS: Final = (0.2, 0.5, 1.0, 2.0, 4.0)
#: Seconds for which a follower tries to come back before it gives up, and between its attempts.
_RECONNECT_TIMEOUT: Final = 300.0
_MAX_RECONNECT_INTERVAL: Final = 5.0
#: Seconds of silence after which a followed log is asked for again: so sounds a dead connection.
_SILENCE_TIMEOUT: Final = 60.0
#: Seconds that the API may ask us to wait; more is a matter for the caller.
_MAX_RETRY_AFTER: Final = 30.0

_TIMEOUT: Final = httpx.Timeout(30.0, connect=5.0)

_ACCEPT: Final = {"Accept": f"application/json, {MEDIA_TYPE}"}

_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})

_BUSY: Final = frozenset(
    {
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
        HTTPStatus.TOO_MANY_REQUESTS,
    }
)

M = TypeVar("M", bound=BaseModel)


class ClientError(BatonError):
    """A call did not succeed."""


class ApiError(ClientError):
    """The API answered with a problem."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(problem.detail)

    def format_message(self) -> str:
        wrong = [f"  {item.pointer or '/'}: {item.detail}" for item in self.problem.errors or ()]
        return "\n".join([f"{self} ({self.problem.status})", *wrong])


class SignedOut(ClientError):
    """There is no token, or none any more; the message says how to get one."""


class Unreachable(ClientError):
    """The API cannot be reached, or what answers is not the API."""


class TokenSource(Protocol):
    """Where access tokens come from. Asked from any thread, before each request."""

    def current(self) -> str:
        """The token to send. Raises `SignedOut`, and `Unreachable` to be asked again later."""

    def other_than(self, refused: str) -> str | None:
        """Another token than the one that the API has answered with 401, or None.

        Raises as `current` does.
        """


class OneToken:
    """A token that somebody else takes care of."""

    def __init__(self, token: str) -> None:
        self._token = token

    def current(self) -> str:
        return self._token

    def other_than(self, refused: str) -> str | None:
        del refused
        return None


class _Bearer(httpx.Auth):
    """RFC 6750 §2.1; a request whose token is refused is sent once more, with another."""

    def __init__(self, source: TokenSource) -> None:
        self._source = source

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        token = self._source.current()
        request.headers["Authorization"] = f"Bearer {token}"
        answer = yield request
        if answer.status_code == HTTPStatus.UNAUTHORIZED:
            other = self._source.other_than(token)
            if other is not None:
                request.headers["Authorization"] = f"Bearer {other}"
                yield request


class BatonClient:
    """Calls of one user. Safe to share between threads; close it, or use it as a context."""

    def __init__(
        self,
        api_url: str,
        token: str | TokenSource,
        *,
        http: httpx.Client | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.api_url = api_url.rstrip("/")
        self._auth = _Bearer(OneToken(token) if isinstance(token, str) else token)
        # Proxies are for what is far away.
        near = httpx.URL(self.api_url).host in _LOOPBACK
        self._http = http or httpx.Client(
            timeout=_TIMEOUT,
            trust_env=not near,
            verify=context_for(self.api_url, trust_env=not near),
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
        """Submit a build; sent again with the same key when the answer was lost."""
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
        """One page of the user's builds, newest first; `next` is the cursor of the one after.

        With `labels` (`name` or `name:value`), builds that have all of them; such a page may be
        empty and have a next one.
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
        """Cancel a build: at once when it is queued, else as soon as its worker hears of it."""
        return self._call(BuildView, "POST", _path(paths.CANCEL, build_id))

    def retry(self, build_id: str, *, idempotency_key: str | None = None) -> BuildView:
        """A new build of the same spec."""
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
        """The log's bytes from `start` on, as they come.

        With `follow`, until the build has ended: a connection that breaks is opened again from the
        byte reached, so that nothing is missing and nothing comes twice. `notice` is told when
        that takes longer. Raises `ApiError`, and `Unreachable` when the API stays away.
        """
        patience = _Patience(build_id, self._sleep, notice)
        while True:
            try:
                for piece in self._log_once(build_id, start, follow=follow):
                    patience.restore()
                    start += len(piece)
                    yield piece
                if not follow or self._is_whole(build_id, start):
                    return
            except (httpx.TransportError, Unreachable) as error:
                if not follow:
                    raise _unreachable(self.api_url, error) from error
                patience.spend(error)
            except ApiError as error:
                if not follow or error.problem.status not in _BUSY:
                    raise
                patience.spend(error)
            else:
                # The stream ended though the build has not: it was quiet, or a proxy cut it off.
                patience.restore()
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
        ) as answer:
            if answer.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and not follow:
                return  # nothing from there on
            if not answer.is_success:
                answer.read()
                raise _error(answer)
            # Something in between may have dropped the Range: then the whole comes again.
            surplus = start if answer.status_code == HTTPStatus.OK else 0
            try:
                for piece in answer.iter_bytes():
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
        """Make a call, again and again while the API is away: all calls may be repeated."""
        headers = _ACCEPT | (headers or {})
        url = self.api_url + path
        pauses = iter(_RETRY_INTERVALS)
        while True:
            try:
                answer = self._http.request(
                    method, url, headers=headers, auth=self._auth, **request
                )
            except (httpx.TransportError, Unreachable) as error:  # the API, or the issuer
                pause = next(pauses, None)
                if pause is None:
                    raise _unreachable(self.api_url, error) from error
            except (httpx.InvalidURL, UnicodeEncodeError) as error:
                raise Unreachable(f"{url} cannot be asked for: {error}") from error
            else:
                if answer.is_success:
                    return _parsed(model, answer)
                pause = next(pauses, None)
                refusal = _error(answer)
                if pause is None or answer.status_code not in _BUSY or _is_full(refusal):
                    raise refusal
                pause = _retry_after(answer, pause)
            self._sleep(pause)


class _Patience:
    """What a follower has while the API is away; comes back with the API."""

    def __init__(
        self, build_id: str, sleep: Callable[[float], None], notice: Callable[[str], None] | None
    ) -> None:
        self._build_id = build_id
        self._sleep = sleep
        self._notice = notice
        self.restore()

    def restore(self) -> None:
        self._end: float | None = None
        self._pause = _RETRY_INTERVALS[0]

    def spend(self, trouble: Exception) -> None:
        """Wait a while, longer each time. Raises `Unreachable` when it is at an end."""
        now = time.monotonic()
        if self._end is None:
            self._end = now + _RECONNECT_TIMEOUT
        if now > self._end:
            raise Unreachable(f"lost the log of {self._build_id}: {trouble}") from trouble
        if self._notice and self._pause >= _MAX_RECONNECT_INTERVAL:
            self._notice(f"waiting for the API: {trouble or type(trouble).__name__}")
        self._sleep(self._pause)
        self._pause = min(self._pause * 2, _MAX_RECONNECT_INTERVAL)


def _path(template: str, build_id: str) -> str:
    return paths.of(template, quote(build_id, safe=""))


def _parsed(model: type[M], answer: httpx.Response) -> M:
    try:
        return model.model_validate_json(answer.content)
    except ValidationError as error:
        raise Unreachable(f"{answer.url} does not answer like the Baton API") from error


def _error(answer: httpx.Response) -> ClientError:
    media_type = answer.headers.get("content-type", "").partition(";")[0].strip()
    if media_type == MEDIA_TYPE:
        try:
            return ApiError(Problem.model_validate_json(answer.content))
        except ValidationError:
            pass
    return Unreachable(f"{answer.url} answered {answer.status_code}, and not as the Baton API")


def _is_full(refusal: ClientError) -> bool:
    """Room comes with the user's own builds, which may take long; better say so at once."""
    return isinstance(refusal, ApiError) and refusal.problem.code is Code.QUEUE_FULL


def _retry_after(answer: httpx.Response, otherwise: float) -> float:
    """RFC 9110 §10.2.3, in its form of seconds; bounded."""
    value = answer.headers.get("retry-after", "")
    return min(float(value), _MAX_RETRY_AFTER) if value.isascii() and value.isdigit() else otherwise


def _unreachable(api_url: str, error: Exception) -> Unreachable:
    if isinstance(error, Unreachable):
        return error
    return Unreachable(f"cannot reach the API at {api_url}: {error or type(error).__name__}")
