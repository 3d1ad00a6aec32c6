"""The device authorization endpoint (RFC 8628 §3.1) gives a device its two codes."""

from http import HTTPStatus
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.issuer import paths
from app.issuer.clients import DEVICE_CODE, Clients
from app.issuer.config import IssuerConfig
from app.issuer.devices import Devices
from app.issuer.errors import NO_STORE, OAuthError
from app.issuer.parameters import body, known_scopes, required


class DeviceAuthorization:
    """`DeviceAuthorization` serves the endpoint."""

    def __init__(self, config: IssuerConfig, clients: Clients, devices: Devices) -> None:
        self._config = config
        self._clients = clients
        self._devices = devices

    async def answer(self, request: Request) -> Response:
        """`POST`: return the codes and the user's URL (RFC 8628 §3.2). Raises `OAuthError`."""
        parameters = await body(request)
        client = self._clients.authenticate(request, parameters)
        if DEVICE_CODE not in client.grant_types:
            raise OAuthError("unauthorized_client", f"this client may not use {DEVICE_CODE}")
        audience = required(parameters, "audience")
        if audience != self._config.audience:
            raise OAuthError(  # 403, as Auth0 has it
                "access_denied", f"Service not found: {audience}", status=HTTPStatus.FORBIDDEN
            )
        device_code, user_code = self._devices.add(client.client_id, known_scopes(parameters))
        where = self._config.url(paths.ACTIVATE)
        answer = {
            "device_code": device_code,
            "user_code": user_code,
            "verification_uri": where,
            "verification_uri_complete": f"{where}?{urlencode({'user_code': user_code})}",
            "expires_in": self._config.device_lifetime,
            "interval": self._config.device_interval,
        }
        return JSONResponse(answer, headers=NO_STORE)
