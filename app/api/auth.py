"""An `Authenticator` reads the access token of a request, and says who is calling."""

from typing import Final

from starlette.requests import Request

from app.api.limits import Limits
from app.api.problems import ApiError
from app.builds.model import Credential
from app.contract import dpop
from app.contract.problems import Code
from app.tokens.claims import UserPrincipal
from app.tokens.dpop import Proof, ProofChecker
from app.tokens.errors import KeysUnavailable, TokenError
from app.tokens.exchanged import ExchangedTokens
from app.tokens.verifier import Verifier

#: The key in a request's scope for the access token, once it has been read.
_TOKEN: Final = "baton.token"  # noqa: S105

#: RFC 9110 §11.1: schemes are compared without case.
_SCHEMES: Final = {"bearer": "Bearer", dpop.SCHEME.lower(): dpop.SCHEME}


class Authenticator:
    """An `Authenticator` verifies tokens and proofs, and counts the requests against the quotas.

    Its methods raise `ApiError` or `TokenError`, which become 401, 403, 429 or 503.
    """

    def __init__(
        self,
        verifier: Verifier,
        proofs: ProofChecker,
        limits: Limits,
        exchanged: ExchangedTokens | None = None,
    ) -> None:
        """With `exchanged`, build tokens are those that were exchanged; minted ones are refused."""
        self._verifier = verifier
        self._proofs = proofs
        self._limits = limits
        self._exchanged = exchanged

    async def user(self, request: Request, scope: str) -> UserPrincipal:
        """Return the user whose token this is, if it holds `scope`; the user's quota counts it."""
        try:
            token, proof = self._presented(request)
            principal = await self._verifier.user(token, proof.jkt if proof else None)
            if proof:
                await self._proofs.use(proof)
        except (TokenError, ApiError) as error:
            await self._count(request, error)
            raise
        await self._limits.user(request, principal.user_id)
        require(principal, frozenset({scope}), "this call needs the scope {}")
        return principal

    async def worker(self, request: Request, build_id: str) -> Credential:
        """Return what the build token says, if it is the token of `build_id` (RFC 9700 §2.3)."""
        try:
            token, proof = self._presented(request)
            jkt = proof.jkt if proof else None
            if self._exchanged:
                principal = await self._exchanged.build(token, build_id, jkt)
            else:
                principal = await self._verifier.build(token, jkt)
            if proof:
                await self._proofs.use(proof)
        except (TokenError, ApiError) as error:
            await self._count(request, error)
            raise
        if principal.build_id != build_id:
            raise ApiError(Code.WRONG_BUILD, "the token is another build's")
        return Credential(user_id=principal.user_id, token_id=principal.token_id)

    async def _count(self, request: Request, error: Exception) -> None:
        """Count a request without a valid token; above the quota, its error is 429 instead."""
        if not isinstance(error, KeysUnavailable):  # then the token may be valid
            await self._limits.anonymous(request)

    def _presented(self, request: Request) -> tuple[str, Proof | None]:
        """Return the token, and with the scheme DPoP its checked proof."""
        scheme, token = _token(request)
        request.scope[_TOKEN] = token
        if scheme != dpop.SCHEME:
            return token, None
        proofs = request.headers.getlist(dpop.HEADER)
        if len(proofs) != 1:  # RFC 9449 §4.3
            raise ApiError(Code.INVALID_PROOF, "send one DPoP header with a proof")
        path: str = request.scope["path"]
        return token, self._proofs.check(proofs[0], method=request.method, path=path, token=token)


def token_of(request: Request) -> str:
    """Return the access token of a request that the authenticator has read."""
    token: str = request.scope[_TOKEN]
    return token


def require(principal: UserPrincipal, scopes: frozenset[str], detail: str) -> None:
    """Raise 403 `insufficient_scope` unless the token holds all of `scopes` (RFC 6750 §3.1).

    `detail` has a `{}` for the missing ones.
    """
    missing = scopes - principal.scopes
    if missing:
        raise ApiError(
            Code.INSUFFICIENT_SCOPE, detail.format(" ".join(sorted(missing))), scope=missing
        )


def _token(request: Request) -> tuple[str, str]:
    """Return scheme and token of the one Authorization header (RFC 6750 §2.1, RFC 9449 §7.1).

    A token in the query is refused; in the body, none is looked for.
    """
    headers = request.headers.getlist("authorization")
    if not headers:
        raise ApiError(Code.MISSING_TOKEN, "send an access token: Authorization: Bearer <token>")
    in_query = request.scope["query_string"] and "access_token" in request.query_params
    if len(headers) > 1 or in_query:
        raise ApiError(Code.INVALID_REQUEST, "send the token once, in one Authorization header")
    scheme, _, token = headers[0].partition(" ")
    known = _SCHEMES.get(scheme.lower())
    if known is None:
        raise ApiError(Code.MISSING_TOKEN, "send an access token: Authorization: Bearer <token>")
    token = token.strip(" ")
    if not token or " " in token:
        raise ApiError(Code.INVALID_REQUEST, "the Authorization header holds no single token")
    return known, token
