"""`create_app` makes and wires all parts of the API; every part is given what it works with."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response

from app.api.docs import openapi
from app.api.docs.once import Once
from app.api.endpoints import dashboard, docs
from app.api.middleware.request_context import RequestContext
from app.api.middleware.security_headers import with_security_headers
from app.api.operation import Operation, routes
from app.api.problems import ApiError, Problems
from app.api.routes import OPERATIONS
from app.api.state import state
from app.bootstrap.running import running
from app.bootstrap.tokens import own_keys
from app.config.settings import Settings
from app.contract import paths
from app.contract.problems import Code
from app.observability import tracing
from app.observability.tracing import OFF, Tracing


def create_app(settings: Settings, traces: Tracing = OFF) -> Starlette:
    """Make the API. Raises `SettingsError` when a file that the settings name cannot be used.

    The connections are open, and the dispatcher and the reaper run, while the lifespan of the
    returned application lasts.
    """
    keys = own_keys(settings)
    problems = Problems(metadata_url=_metadata_url(settings.api_url), root=settings.root_path)

    @cache
    def document() -> dict[str, Any]:
        return openapi.document(
            OPERATIONS,
            api_url=settings.api_url,
            openid_configuration=settings.discovery_url,
        )

    pages = [*_dashboard(settings), *docs.operations(document)]
    app = Starlette(
        routes=routes([*_operations(settings.api_url), *pages]),
        middleware=_middleware(settings),
        lifespan=lambda app: running(app, settings, problems, keys, traces),
        exception_handlers={404: _not_found, Exception: _unexpected},
    )
    app.router.redirect_slashes = False
    app.state.openapi = Once(document)
    return _with_request_context(with_security_headers(app, settings.api_url), traces)


def _with_request_context(app: Starlette, traces: Tracing) -> Starlette:
    """Add the outermost middleware, so that all log lines of a request name its build."""
    app.middleware_stack = RequestContext(
        app.middleware_stack or app.build_middleware_stack(), traces
    )
    return app


async def _not_found(request: Request, _: Exception) -> Response:
    error = ApiError(Code.NOT_FOUND, "there is nothing at this path")
    try:
        await state(request).limits.anonymous(request)
    except ApiError as refusal:
        error = refusal
    response = state(request).problems.response(error, request)
    state(request).metrics.answered(request.method, "", response.status_code)
    return response


async def _unexpected(request: Request, cause: Exception) -> Response:
    """Error boundary for what fails outside of the endpoints' own.

    Starlette sends this response and raises the error again, and the server logs it.
    """
    tracing.record(cause)
    error = ApiError(Code.INTERNAL, "something went wrong here; it has been logged")
    return state(request).problems.response(error, request)


def _middleware(settings: Settings) -> list[Middleware]:
    if not settings.cors_origins:
        return []
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "HEAD", "POST"],
            allow_headers=[
                "Authorization", "Content-Type", "DPoP", "Idempotency-Key", "Last-Event-ID",
                "Range", *tracing.HEADERS,  # W3C Trace Context
            ],
            expose_headers=[
                "WWW-Authenticate", "Location", "Link", "Retry-After", "Content-Range",
                "RateLimit", "RateLimit-Policy",
            ],
            max_age=600,
        )
    ]  # fmt: skip


def _metadata_url(api_url: str) -> str:
    """Return the metadata's URL: the well-known part goes before the path (RFC 9728 §3.1)."""
    url = urlsplit(api_url)
    return f"{url.scheme}://{url.netloc}{paths.PROTECTED_RESOURCE}{url.path.rstrip('/')}"


def _operations(api_url: str) -> Sequence[Operation]:
    """Return all operations. An API below a path also serves its metadata at `_metadata_url`."""
    metadata = urlsplit(_metadata_url(api_url)).path
    if metadata == paths.PROTECTED_RESOURCE:
        return OPERATIONS
    own = next(each for each in OPERATIONS if each.path == paths.PROTECTED_RESOURCE)
    return (*OPERATIONS, replace(own, path=metadata))


def _dashboard(settings: Settings) -> Sequence[Operation]:
    return dashboard.operations(
        dashboard.SignIn(
            issuer=settings.issuer,
            client_id=settings.dashboard_client_id,
            audience=settings.audience,
            scope=settings.dashboard_scope,
        )
    )
