"""The revocation endpoint (RFC 7009) ends a refresh token and all of its successors."""

from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response

from app.issuer.clients import Clients
from app.issuer.errors import NO_STORE, OAuthError
from app.issuer.parameters import body, required
from app.issuer.refresh import RefreshTokens


class Revocation:
    """`Revocation` serves the endpoint."""

    def __init__(self, clients: Clients, refresh_tokens: RefreshTokens) -> None:
        self._clients = clients
        self._refresh_tokens = refresh_tokens

    async def answer(self, request: Request) -> Response:
        """`POST` with a `token`: return 200, whether it is known or not (RFC 7009 §2.2). Raises
        `OAuthError`."""
        parameters = await body(request)
        client = self._clients.authenticate(request, parameters)
        token = required(parameters, "token")
        if token.count(".") > 1:
            raise OAuthError(
                "unsupported_token_type",
                "access tokens are JWTs, which end by themselves; revoke the refresh token",
            )
        self._refresh_tokens.revoke(token, client.client_id)
        return Response(status_code=HTTPStatus.OK, headers=NO_STORE)
