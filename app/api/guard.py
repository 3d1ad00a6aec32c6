"""Who is calling: the bearer token of a request, and what it allows here."""

from starlette.requests import Request

from app.api.problems import ApiError
from app.builds.model import Credential
from app.contract.problems import Code
from app.tokens.claims import UserPrincipal
from app.tokens.verifier import Verifier


class Guard:
    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier

    async def user(self, request: Request, scope: str) -> UserPrincipal:
        """The user whose token this is, if it holds `scope`."""
        principal = await self._verifier.user(_bearer(request))
        require(principal, frozenset({scope}), "this call needs the scope {}")
        return principal

    async def worker(self, request: Request, build_id: str) -> Credential:
        """What a build token says, if it is this very build's (RFC 9700 §2.3)."""
        principal = await self._verifier.build(_bearer(request))
        if principal.build_id != build_id:
            raise ApiError(Code.WRONG_BUILD, "the token is another build's")
        return Credential(user_id=principal.user_id, token_id=principal.token_id)


def require(principal: UserPrincipal, scopes: frozenset[str], detail: str) -> None:
    """403 `insufficient_scope` (RFC 6750 §3.1) unless the user's token holds all of `scopes`."""
    missing = scopes - principal.scopes
    if missing:
        raise ApiError(
            Code.INSUFFICIENT_SCOPE, detail.format(" ".join(sorted(missing))), scope=missing
        )


def _bearer(request: Request) -> str:
    """The token of the one Authorization header (RFC 6750 §2.1; never from query or body)."""
    headers = request.headers.getlist("authorization")
    if not headers:
        raise ApiError(Code.MISSING_TOKEN, "send an access token: Authorization: Bearer <token>")
    in_query = request.scope["query_string"] and "access_token" in request.query_params
    if len(headers) > 1 or in_query:
        raise ApiError(Code.INVALID_REQUEST, "send the token once, in one Authorization header")
    scheme, _, token = headers[0].partition(" ")
    if scheme.lower() != "bearer":
        raise ApiError(Code.MISSING_TOKEN, "send an access token: Authorization: Bearer <token>")
    token = token.strip(" ")
    if not token or " " in token:
        raise ApiError(Code.INVALID_REQUEST, "the Authorization header holds no single token")
    return token
