"""An `Operation` is one call of the API, as router, authentication and OpenAPI document see it."""

import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from pydantic import BaseModel
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from app.api.middleware.request_context import ROUTE
from app.api.problems import ApiError, as_api_error
from app.api.state import AppState, state
from app.builds.model import Credential
from app.contract.problems import Code
from app.observability import tracing
from app.tokens.claims import UserPrincipal

log = logging.getLogger(__name__)

#: The key in a request's scope for the seconds of its latency that its client asked for.
_EXCLUDED: Final = "baton.excluded"

Endpoint = Callable[[Request], Awaitable[Response]]
UserEndpoint = Callable[[Request, UserPrincipal], Awaitable[Response]]
WorkerEndpoint = Callable[[Request, Credential], Awaitable[Response]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Operation:
    """An `Operation` is one method of one path, with all that the OpenAPI document says of it."""

    method: str
    path: str
    summary: str
    endpoint: Endpoint
    #: The scope that a user's token needs; `BUILD_TOKEN` for build tokens; None for everyone.
    token: str | None = None
    request_model: type[BaseModel] | None = None
    response_model: type[BaseModel] | str | None = None  #: a model, or a media type
    status: int = 200
    #: Other statuses than `status` that are no errors, with their meanings.
    extra_responses: dict[int, str] = field(default_factory=dict)
    problems: Sequence[Code] = ()
    query: dict[str, str] = field(default_factory=dict)
    optional_headers: dict[str, str] = field(default_factory=dict)
    required_headers: dict[str, str] = field(default_factory=dict)
    response_headers: dict[str, str] = field(default_factory=dict)
    probe: bool = False  #: for monitoring; exempt from the quota of addresses


BUILD_TOKEN = "build"  # noqa: S105  a kind of token, no password


def for_user(scope: str, endpoint: UserEndpoint) -> Endpoint:
    """Wrap an endpoint for users whose token holds `scope`."""

    async def guarded(request: Request) -> Response:
        return await endpoint(request, await state(request).auth.user(request, scope))

    return guarded


def for_worker(endpoint: WorkerEndpoint) -> Endpoint:
    """Wrap an endpoint for the worker that holds the token of the build in the path."""

    async def guarded(request: Request) -> Response:
        build_id = request.path_params["build_id"]
        return await endpoint(request, await state(request).auth.worker(request, build_id))

    return guarded


def for_anyone(endpoint: Endpoint) -> Endpoint:
    """Wrap an endpoint for everyone, within the quota of the client's address."""

    async def counted(request: Request) -> Response:
        await state(request).limits.anonymous(request)
        return await endpoint(request)

    return counted


@contextmanager
def exclude_from_latency(request: Request) -> Iterator[None]:
    """Keep the time of a `with` out of the metrics, because the client asked to wait."""
    started = time.perf_counter()
    try:
        yield
    finally:
        request.scope[_EXCLUDED] = time.perf_counter() - started


def routes(operations: Sequence[Operation]) -> list[Route]:
    """Make one route for each path, so that a 405 can name its methods (RFC 9110 §15.5.6)."""
    by_path: dict[str, dict[str, Endpoint]] = {}
    for operation in operations:
        methods = by_path.setdefault(operation.path, {})
        endpoint = operation.endpoint
        if not (operation.token or operation.probe):
            endpoint = for_anyone(endpoint)
        methods[operation.method] = endpoint
        if operation.method == "GET":
            methods["HEAD"] = endpoint
    return [_route(path, methods) for path, methods in by_path.items()]


def _route(path: str, methods: dict[str, Endpoint]) -> Route:
    route = Route(path, _answering(path, methods))
    route.methods = None  # every method reaches the endpoint, which answers 405 itself
    return route


def _answering(path: str, methods: dict[str, Endpoint]) -> Endpoint:
    """Error boundary: every error becomes a response here, and every response is counted."""
    allowed = ", ".join(sorted(methods))

    async def not_allowed(request: Request) -> Response:
        await state(request).limits.anonymous(request)
        detail = f"this path takes {allowed}"
        raise ApiError(Code.METHOD_NOT_ALLOWED, detail, headers={"Allow": allowed})

    async def counted(request: Request) -> Response:
        started, app_state = time.perf_counter(), state(request)
        response = await answer(request, app_state)
        seconds = time.perf_counter() - started - request.scope.get(_EXCLUDED, 0.0)
        app_state.metrics.answered(request.method, path, response.status_code, seconds)
        return response

    async def answer(request: Request, app_state: AppState) -> Response:
        request.scope[ROUTE] = path
        try:
            response = await methods.get(request.method, not_allowed)(request)
        except ClientDisconnect:
            return Response(status_code=400)
        except Exception as error:
            problem = as_api_error(error)
            if problem is None:
                log.exception("%s %s failed", request.method, request.scope["path"])
                tracing.record(error)
                problem = ApiError(Code.INTERNAL, "something went wrong here; it has been logged")
            response = app_state.problems.response(problem, request)
        app_state.limits.add_headers(request, response)
        return response

    return counted
