"""The token endpoint (RFC 6749 §3.2): one grant for machines, one for users' applications."""

import base64
import hashlib
import hmac
import re
import time
from http import HTTPStatus
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.issuer import claims
from app.issuer.action import ActionSecrets, added_claims
from app.issuer.authorize import Code
from app.issuer.clients import AUTHORIZATION_CODE, CLIENT_CREDENTIALS, Client, Clients
from app.issuer.config import IssuerConfig
from app.issuer.errors import NO_STORE, OAuthError
from app.issuer.keys import SigningKeys
from app.issuer.parameters import Parameters, body, required
from app.issuer.pending import Pending

_VERIFIER: Final = re.compile(r"[A-Za-z0-9._~-]{43,128}\Z")  # RFC 7636 §4.1

#: Auth0's default dialect; RFC 9068 would say at+jwt.
_TYPE: Final = "JWT"


class TokenEndpoint:
    def __init__(
        self, config: IssuerConfig, clients: Clients, keys: SigningKeys, codes: Pending[Code]
    ) -> None:
        self._config = config
        self._clients = clients
        self._keys = keys
        self._codes = codes
        self._action = ActionSecrets(
            build_audience=config.mint_audience,
            build_client_id=config.mint_client_id,
            claim_namespace=config.namespace,
        )

    async def answer(self, request: Request) -> Response:
        """`POST`: the tokens (RFC 6749 §5.1). Raises `OAuthError`."""
        parameters = await body(request)
        client = self._clients.authenticate(request, parameters)
        grant_type = required(parameters, "grant_type")
        grant = {
            CLIENT_CREDENTIALS: self._client_credentials,
            AUTHORIZATION_CODE: self._authorization_code,
        }.get(grant_type)
        if grant is None:
            raise OAuthError(
                "unsupported_grant_type",
                f"only {CLIENT_CREDENTIALS} and {AUTHORIZATION_CODE} are offered",
            )
        if grant_type not in client.grant_types:
            raise OAuthError("unauthorized_client", f"this client may not use {grant_type}")
        return JSONResponse(grant(client, parameters), headers=NO_STORE)

    def _client_credentials(self, client: Client, parameters: Parameters) -> dict[str, Any]:
        """RFC 6749 §4.4, as Auth0 does it: `scope` is not looked at, the client gets its grant."""
        audience = required(parameters, "audience")
        if audience not in {self._config.audience, self._config.mint_audience}:
            raise _denied(f"Service not found: {audience}")
        if audience != self._config.mint_audience:
            raise _denied(f"Client is not authorized to access {audience}: it has no client grant")
        added = added_claims(
            self._action, audience=audience, client_id=client.client_id, body=parameters
        )
        token = claims.machine_token(
            self._config, now=_now(), client_id=client.client_id, added=added
        )
        return self._access_token(token)

    def _authorization_code(self, client: Client, parameters: Parameters) -> dict[str, Any]:
        """RFC 6749 §4.1.3, RFC 7636 §4.6. A code is gone after one try, good or bad."""
        code = self._codes.take(required(parameters, "code"))
        verifier = required(parameters, "code_verifier")
        redirect_uri = required(parameters, "redirect_uri")
        if code is None or code.sign_in.client_id != client.client_id:
            raise OAuthError("invalid_grant", "the code is unknown, used or too old")
        if redirect_uri != code.redirect_uri:
            raise OAuthError("invalid_grant", "redirect_uri is not the one the code was sent to")
        if not _proves(verifier, code.challenge):
            raise OAuthError("invalid_grant", "code_verifier does not fit code_challenge")
        now = _now()
        answer = self._access_token(claims.user_token(self._config, code.sign_in, now=now))
        if "openid" in code.sign_in.scopes:
            answer["id_token"] = self._sign(claims.id_token(self._config, code.sign_in, now=now))
        return answer

    def _access_token(self, token: dict[str, Any]) -> dict[str, Any]:
        return {
            "access_token": self._sign(token),
            "token_type": "Bearer",
            "expires_in": token["exp"] - token["iat"],
            "scope": token["scope"],
        }

    def _sign(self, token: dict[str, Any]) -> str:
        return self._keys.current.sign(token, typ=_TYPE)


def _now() -> int:
    return int(time.time())


def _denied(description: str) -> OAuthError:
    """Auth0 answers 403 here."""
    return OAuthError("access_denied", description, status=HTTPStatus.FORBIDDEN)


def _proves(verifier: str, challenge: str) -> bool:
    if not _VERIFIER.match(verifier):
        return False
    digest = hashlib.sha256(verifier.encode()).digest()
    made = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    return hmac.compare_digest(made, challenge)
