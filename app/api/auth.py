"""Who is calling: the access token of a request, and what it allows here."""

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

#: Where a request keeps the token that its auth has read.
_TOKEN: Final = "baton.token"  # noqa: S105

#: RFC 9110 §11.1: schemes are compared without case.
_SCHEMES: Final = {"bearer": "Bearer", dpop.SCHEME.lower(): dpop.SCHEME}


class Authenticator:
    def __init__(
        self,
        verifier: Verifier,
        proofs: ProofChecker,
        limits: Limits,
        exchanged: ExchangedTokens | None = None,
    ) -> None:
        """With `exchanged`, it reads build tokens, and those that were minted are refused."""
        self._verifier = verifier
        self._proofs = proofs
        self._limits = limits
        self._exchanged = exchanged

    async def user(self, request: Request, scope: str) -> UserPrincipal:
        """The user whose token this is, if it holds `scope`; one more request of theirs."""
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
        """What a build token says, if it is this very build's (RFC 9700 §2.3)."""
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
        """Count a request without a valid token, and refuse it instead when there are too many."""
        if not isinstance(error, KeysUnavailable):  # then nobody knows
            await self._limits.anonymous(request)

    def _presented(self, request: Request) -> tuple[str, Proof | None]:
        """The token, and its sender's proof of holding a key."""
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
    """The access token of a request that a auth let in."""
    token: str = request.scope[_TOKEN]
    return token


def require(principal: UserPrincipal, scopes: frozenset[str], detail: str) -> None:
    """403 `insufficient_scope` (RFC 6750 §3.1) unless the user's token holds all of `scopes`."""
    missing = scopes - principal.scopes
    if missing:
        raise ApiError(
            Code.INSUFFICIENT_SCOPE, detail.format(" ".join(sorted(missing))), scope=missing
        )


def _token(request: Request) -> tuple[str, str]:
    """Scheme and token of the one Authorization header (RFC 6750 §2.1, RFC 9449 §7.1; never from
    query or body)."""
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
