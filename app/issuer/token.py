"""The token endpoint (RFC 6749 §3.2): one grant for machines, three for users' applications."""

import base64
import hashlib
import hmac
import re
import time
from dataclasses import replace
from http import HTTPStatus
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.issuer import claims
from app.issuer.auth0_claims import ActionSecrets, added_claims
from app.issuer.authorize import Code
from app.issuer.claims import SignIn
from app.issuer.clients import (
    AUTHORIZATION_CODE,
    CLIENT_CREDENTIALS,
    DEVICE_CODE,
    REFRESH_TOKEN,
    Client,
    Clients,
)
from app.issuer.config import OFFLINE_ACCESS, IssuerConfig
from app.issuer.devices import Devices
from app.issuer.errors import NO_STORE, OAuthError
from app.issuer.keys import SigningKeys
from app.issuer.one_time_store import OneTimeStore
from app.issuer.parameters import Parameters, body, optional, required
from app.issuer.refresh import RefreshTokens

_VERIFIER: Final = re.compile(r"[A-Za-z0-9._~-]{43,128}\Z")  # RFC 7636 §4.1

#: Auth0's default dialect; RFC 9068 would say at+jwt.
_TYPE: Final = "JWT"


class TokenEndpoint:
    """`TokenEndpoint` authenticates the client, and serves the grants that it may use."""

    def __init__(
        self,
        config: IssuerConfig,
        clients: Clients,
        keys: SigningKeys,
        codes: OneTimeStore[Code],
        devices: Devices,
        refresh_tokens: RefreshTokens,
    ) -> None:
        self._config = config
        self._clients = clients
        self._keys = keys
        self._codes = codes
        self._devices = devices
        self._refresh_tokens = refresh_tokens
        self._action = ActionSecrets(
            build_audience=config.mint_audience,
            build_client_id=config.mint_client_id,
            claim_namespace=config.namespace,
        )

    async def answer(self, request: Request) -> Response:
        """`POST`: return the tokens (RFC 6749 §5.1). Raises `OAuthError`."""
        parameters = await body(request)
        client = self._clients.authenticate(request, parameters)
        grant_type = required(parameters, "grant_type")
        grants = {
            CLIENT_CREDENTIALS: self._client_credentials,
            AUTHORIZATION_CODE: self._authorization_code,
            DEVICE_CODE: self._device_code,
            REFRESH_TOKEN: self._refresh_token,
        }
        grant = grants.get(grant_type)
        if grant is None:
            raise OAuthError(
                "unsupported_grant_type", f"only these are offered: {', '.join(grants)}"
            )
        if grant_type not in client.grant_types:
            raise OAuthError("unauthorized_client", f"this client may not use {grant_type}")
        return JSONResponse(grant(client, parameters), headers=NO_STORE)

    def _client_credentials(self, client: Client, parameters: Parameters) -> dict[str, Any]:
        """Serve RFC 6749 §4.4 as Auth0 does: `scope` is ignored, the client gets all scopes of its
        grant."""
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
        """Serve RFC 6749 §4.1.3 and RFC 7636 §4.6. A code is used up by one try, valid or not."""
        code = self._codes.take(required(parameters, "code"))
        verifier = required(parameters, "code_verifier")
        redirect_uri = required(parameters, "redirect_uri")
        if code is None or code.sign_in.client_id != client.client_id:
            raise OAuthError("invalid_grant", "the code is unknown, used or too old")
        if redirect_uri != code.redirect_uri:
            raise OAuthError("invalid_grant", "redirect_uri is not the one the code was sent to")
        if not _matches_challenge(verifier, code.challenge):
            raise OAuthError("invalid_grant", "code_verifier does not fit code_challenge")
        return self._first_tokens(code.sign_in)

    def _device_code(self, client: Client, parameters: Parameters) -> dict[str, Any]:
        """Serve RFC 8628 §3.4."""
        code = required(parameters, "device_code")
        user, scopes = self._devices.redeem(code, client.client_id)
        return self._first_tokens(
            SignIn(
                user_id=user.user_id,
                name=user.name,
                client_id=client.client_id,
                scopes=scopes,
                nonce=None,
            )
        )

    def _refresh_token(self, client: Client, parameters: Parameters) -> dict[str, Any]:
        """Serve RFC 6749 §6: the same scopes or, with `scope`, fewer of them for this one access
        token."""
        token = required(parameters, "refresh_token")
        asked = (optional(parameters, "scope") or "").split()
        sign_in = self._refresh_tokens.sign_in(token, client.client_id)
        more = sorted(set(asked) - set(sign_in.scopes))
        if more:
            raise OAuthError("invalid_scope", f"not granted at the sign-in: {' '.join(more)}")
        scopes = [scope for scope in sign_in.scopes if not asked or scope in asked]
        answer = self._tokens(replace(sign_in, scopes=scopes, nonce=None))
        return {**answer, "refresh_token": self._refresh_tokens.rotate(token)}

    def _first_tokens(self, sign_in: SignIn) -> dict[str, Any]:
        answer = self._tokens(sign_in)
        if OFFLINE_ACCESS in sign_in.scopes:
            answer["refresh_token"] = self._refresh_tokens.issue(sign_in)
        return answer

    def _tokens(self, sign_in: SignIn) -> dict[str, Any]:
        now = _now()
        answer = self._access_token(claims.user_token(self._config, sign_in, now=now))
        if "openid" in sign_in.scopes:
            answer["id_token"] = self._sign(claims.id_token(self._config, sign_in, now=now))
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
    """Return `access_denied` with status 403, as Auth0 has it."""
    return OAuthError("access_denied", description, status=HTTPStatus.FORBIDDEN)


def _matches_challenge(verifier: str, challenge: str) -> bool:
    if not _VERIFIER.match(verifier):
        return False
    digest = hashlib.sha256(verifier.encode()).digest()
    computed = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    return hmac.compare_digest(computed, challenge)
