"""The embedded issuer is an OAuth 2.0 authorization server for development, in Auth0's place."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.issuer import paths
from app.issuer.activation import Activation
from app.issuer.authorize import Authorization, Code
from app.issuer.clients import Clients
from app.issuer.config import IssuerConfig
from app.issuer.device_authorization import DeviceAuthorization
from app.issuer.devices import Devices
from app.issuer.errors import NO_STORE, OAuthError
from app.issuer.keys import SigningKeys
from app.issuer.metadata import metadata
from app.issuer.one_time_store import OneTimeStore
from app.issuer.refresh import RefreshTokens
from app.issuer.revocation import Revocation
from app.issuer.throttle import Throttle
from app.issuer.token import TokenEndpoint
from app.issuer.userinfo import Userinfo

log = logging.getLogger(__name__)

#: Auth0's own header; clients cache keys longer by rules of theirs.
_PUBLIC: Final = {"Cache-Control": "public, max-age=15"}

Endpoint = Callable[[Request], Awaitable[Response]]


def create_issuer(config: IssuerConfig) -> Starlette:
    """Return the issuer, to be served at the root of `config.issuer`.

    Its keys are read from files or created. Raises `KeyFileError` for key files that cannot be
    used.
    """
    keys = SigningKeys(config.key_dir)
    codes: OneTimeStore[Code] = OneTimeStore(lifetime=config.code_lifetime)
    devices = Devices(lifetime=config.device_lifetime, interval=config.device_interval)
    refresh_tokens = RefreshTokens(
        lifetime=config.refresh_lifetime,
        idle=config.refresh_idle_lifetime,
        leeway=config.refresh_leeway,
    )
    clients = Clients.of(config)
    authorization = Authorization(config, clients, codes)
    token = TokenEndpoint(config, clients, keys, codes, devices, refresh_tokens)
    device_authorization = DeviceAuthorization(config, clients, devices)
    activation = Activation(devices, Throttle(), lifetime=config.login_lifetime)
    revocation = Revocation(clients, refresh_tokens)
    document = metadata(config)
    app = Starlette(
        routes=[
            Route(paths.AUTHORIZE, authorization.handle, methods=["GET", "POST"]),
            Route(paths.TOKEN, token.answer, methods=["POST"]),
            Route(paths.DEVICE_CODE, device_authorization.answer, methods=["POST"]),
            Route(paths.ACTIVATE, activation.handle, methods=["GET", "POST"]),
            Route(paths.REVOKE, revocation.answer, methods=["POST"]),
            Route(paths.USERINFO, Userinfo(config, keys).answer, methods=["GET"]),
            Route(paths.JWKS, _public(keys.jwks), methods=["GET"]),
            Route(paths.OPENID_CONFIGURATION, _public(lambda: document), methods=["GET"]),
            Route(paths.OAUTH_METADATA, _public(lambda: document), methods=["GET"]),
            Route(paths.ROTATE, _rotation(clients, keys), methods=["POST"]),
            Route(paths.HEALTHZ, _healthz, methods=["GET"]),
        ],
        middleware=_middleware(config),
        lifespan=_lifespan,
        exception_handlers={OAuthError: _error, HTTPException: _error, Exception: _error},
    )
    app.router.redirect_slashes = False
    return app


@asynccontextmanager
async def _lifespan(_: Starlette) -> AsyncIterator[None]:
    log.warning("the embedded issuer signs in anyone under any name: for development only")
    yield


def _middleware(config: IssuerConfig) -> list[Middleware]:
    if not config.allowed_origins:
        return []
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=config.allowed_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "Auth0-Client"],
            max_age=600,
        )
    ]


def _public(document: Callable[[], dict[str, Any]]) -> Endpoint:
    async def endpoint(_: Request) -> Response:
        return JSONResponse(document(), headers=_PUBLIC)

    return endpoint


def _rotation(clients: Clients, keys: SigningKeys) -> Endpoint:
    """Return the endpoint that rotates the keys, for the machine-to-machine client alone."""
    lock = asyncio.Lock()

    async def endpoint(request: Request) -> Response:
        client = clients.authenticate_basic(request)
        if client.secret is None:
            raise OAuthError(
                "unauthorized_client",
                "only the machine-to-machine client may rotate the keys",
                status=HTTPStatus.FORBIDDEN,
            )
        async with lock:
            await asyncio.to_thread(keys.rotate)
        log.info("signing keys rotated", extra={"kid": keys.current.kid})
        return Response(status_code=HTTPStatus.NO_CONTENT, headers=NO_STORE)

    return endpoint


async def _healthz(_: Request) -> Response:
    return JSONResponse({"status": "ok"}, headers=NO_STORE)


async def _error(_: Request, error: Exception) -> Response:
    match error:
        case OAuthError():
            return error.response()
        case HTTPException():
            missing = error.status_code == HTTPStatus.NOT_FOUND
            answer = OAuthError(
                "not_found" if missing else "invalid_request",
                "there is nothing at this path" if missing else error.detail,
                status=error.status_code,
            ).response()
            answer.headers.update(error.headers or {})
            return answer
        case _:  # Starlette raises the error again afterwards, and the server logs it.
            return OAuthError(
                "server_error", "something unforeseen", status=HTTPStatus.INTERNAL_SERVER_ERROR
            ).response()
