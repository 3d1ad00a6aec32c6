"""The userinfo endpoint (OpenID Connect Core §5.3), which every user token has as an audience."""

from http import HTTPStatus
from typing import Any

import jwt
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.issuer import paths
from app.issuer.claims import profile_claims
from app.issuer.config import IssuerConfig
from app.issuer.errors import NO_STORE
from app.issuer.keys import SigningKeys


class Userinfo:
    """`Userinfo` serves the endpoint."""

    def __init__(self, config: IssuerConfig, keys: SigningKeys) -> None:
        self._config = config
        self._keys = keys

    async def answer(self, request: Request) -> Response:
        """`GET` with a user's access token: return who the user is."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return _challenge("")
        try:
            payload = self._payload(token)
        except jwt.PyJWTError:
            return _challenge(', error="invalid_token"')
        name = payload["sub"].rpartition("|")[2]
        body = {"sub": payload["sub"], **profile_claims(name, payload["scope"].split(" "))}
        return JSONResponse(body, headers=NO_STORE)

    def _payload(self, token: str) -> dict[str, Any]:
        keys = jwt.PyJWKSet.from_dict(self._keys.jwks())
        payload: dict[str, Any] = jwt.decode(
            token,
            keys[jwt.get_unverified_header(token).get("kid", "")],
            algorithms=["RS256"],
            audience=self._config.url(paths.USERINFO),
            issuer=self._config.issuer,
            options={"require": ["exp", "sub", "scope"]},
        )
        return payload


def _challenge(error: str) -> Response:
    """Return 401 with the challenge of RFC 6750 §3."""
    return JSONResponse(
        {"error": "invalid_token", "error_description": "send a user's access token as a bearer"},
        HTTPStatus.UNAUTHORIZED,
        {**NO_STORE, "WWW-Authenticate": f'Bearer realm="baton issuer"{error}'},
    )
