"""The verifier decides whether a token is valid, and which of the two kinds it is of.

All tokens take one path; then the kind follows from who obtained the token: a machine (client
credentials) or a person's application. The rules of the two kinds exclude each other (RFC 8725
§3.12): no token passes both `user` and `build`, whatever claims it carries.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from app.minting import BuildPrincipal
from app.tokens.claims import (
    Claims,
    UnverifiedToken,
    UserPrincipal,
    audiences,
    build_principal,
    identifier,
    numeric_date,
    scope_list,
    scopes,
)
from app.tokens.errors import InsufficientScope, InvalidToken, WrongKind
from app.tokens.keys import KEY_TYPES, KeySource
from app.tokens.verified import MAX_CACHED_TOKENS, VerifiedToken, VerifiedTokens

#: `typ` of an RFC 9068 access token, lower case, without `application/` (RFC 7515 §4.1.9).
_ACCESS_TOKEN: Final = "at+jwt"  # noqa: S105

#: `typ` in Auth0's own dialect, or its absence. Any other explicit type marks another kind of JWT
#: (a logout token, a DPoP proof, a security event) and no access token (RFC 8725 §3.11).
_PLAIN: Final = frozenset({None, "jwt"})

#: RFC 9068 §2.2. `aud`, `iss`, `exp`, `iat` and `sub` are required in either dialect.
_REQUIRED_BY_9068: Final = ("client_id", "jti")


#: Auth0's mark for tokens that a client obtained for itself.
_CLIENT_CREDENTIALS: Final = "client-credentials"
_CLIENT_SUBJECT: Final = "@clients"


#: Messages by whether the token is bound and whether there is a proof (RFC 9449 §7.1, §7.2).
_NOT_TAKEN: Final[Mapping[tuple[bool, bool], str]] = {
    (True, False): "the token is bound to a key: send it as DPoP, with a proof",
    (False, True): "the token is bound to no key: send it as Bearer",
    (True, True): "the token is bound to another key",
}


#: How an issuer names claims: as RFC 9068 and Auth0 do, or as Okta does (`cid`, and a list `scp`).
Dialect = Literal["standard", "okta"]

#: The claims that name the client: RFC 9068's and Auth0's, or Okta's.
_CLIENT: Final[Mapping[Dialect, Sequence[str]]] = {
    "standard": ("client_id", "azp"),
    "okta": ("cid",),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class TrustedIssuer:
    """An issuer, by the exact spelling of its `iss`, with its keys and the algorithms it may sign
    with."""

    issuer: str
    keys: KeySource
    algorithms: frozenset[str]
    dialect: Dialect = "standard"

    def __post_init__(self) -> None:
        wrong = self.algorithms - KEY_TYPES.keys()
        if wrong or not self.algorithms:
            raise ValueError(f"algorithms not to be trusted: {sorted(wrong) or 'none given'}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """The policy says which audiences tokens must have, and which tokens may name a build."""

    audience: str  #: of user tokens
    mint_audience: str  #: of build tokens
    namespace: str  #: prefix of the claims `user_id` and `build_id`
    minting_clients: frozenset[str]  #: ids of the clients that may obtain build tokens
    delegated: frozenset[str]  #: the scopes of a build token, exactly
    leeway: float = 30.0  #: seconds by which clocks may disagree
    minting_issuers: frozenset[str] | None = None  #: None: any trusted one
    #: Thumbprints of the keys that build tokens must be bound to; empty: they need not be bound.
    worker_keys: frozenset[str] = frozenset()

    @property
    def user_id_claim(self) -> str:
        return self.namespace + "user_id"

    @property
    def build_id_claim(self) -> str:
        return self.namespace + "build_id"


class Verifier:
    """The verifier turns tokens into principals. Safe to call from any number of tasks at once."""

    def __init__(
        self,
        issuers: Sequence[TrustedIssuer],
        policy: Policy,
        *,
        clock: Callable[[], float] = time.time,
        max_cached_tokens: int = MAX_CACHED_TOKENS,
    ) -> None:
        """`max_cached_tokens`: verified tokens that are cached for their next use."""
        self.policy = policy
        self._issuers = {trusted.issuer: trusted for trusted in issuers}
        self._clock = clock
        self._verified = VerifiedTokens(max_cached_tokens)
        if len(self._issuers) != len(issuers):
            raise ValueError("the same issuer twice: its keys would be ambiguous")

    async def user(self, raw: str, jkt: str | None = None) -> UserPrincipal:
        """Return the user behind a token; for `jkt` see `claims`. Raises any `TokenError`."""
        claims = await self.claims(raw, jkt)
        if self._is_machine(claims):
            raise WrongKind("this call takes a user's token, not a machine's")
        if self.policy.audience not in claims.audiences:
            raise InvalidToken("the token is for another audience")
        return UserPrincipal(
            user_id=claims.subject,
            scopes=claims.scopes,
            client_id=claims.client_id,
            expires_at=claims.expires_at,
        )

    async def build(self, raw: str, jkt: str | None = None) -> BuildPrincipal:
        """Return the build behind a token; for `jkt` see `claims`. Raises any `TokenError`."""
        claims = await self.claims(raw, jkt)
        if not self._is_minted(claims):
            raise WrongKind("this call takes a build token, as a worker gets it with its build")
        policy = self.policy
        if policy.worker_keys and claims.bound_to not in policy.worker_keys:
            raise InvalidToken("the build token is not bound to a key of this API's workers")
        if claims.audiences != (policy.mint_audience,):
            raise InvalidToken("the token is for another audience")
        if not claims.scopes >= policy.delegated:
            raise InsufficientScope(
                policy.delegated, "the build token lacks the scope that a build token has"
            )
        if claims.scopes != policy.delegated:
            raise InsufficientScope(
                policy.delegated, "a build token carries its one scope and no other"
            )
        return build_principal(
            claims,
            user_id=identifier(claims.extra, policy.user_id_claim),
            build_id=identifier(claims.extra, policy.build_id_claim),
        )

    async def claims(self, raw: str, jkt: str | None = None) -> Claims:
        """Return the claims of a token of either kind, verified except for its kind. Raises any
        `TokenError`.

        `jkt` is the thumbprint of the key whose possession the sender has proved, None for a bearer
        without proof. A token that is bound to a key is accepted with a proof by that key only; a
        token that is not bound is accepted without a proof only.
        """
        token = await self._find_verified(raw) or await self._verify(raw)
        claims = token.claims
        if claims.bound_to != jkt:
            raise InvalidToken(_NOT_TAKEN[claims.bound_to is not None, jkt is not None])
        return claims

    async def _find_verified(self, raw: str) -> VerifiedToken | None:
        """Return the cached result for this very token, if it is still valid."""
        known = self._verified.find(raw)
        if known is None:
            return None
        if self._clock() >= known.expires_at or not await known.key_stands():
            self._verified.drop(raw)
            return None
        self._check_not_before(known.not_before)  # the clock may have been set back
        return known

    async def _verify(self, raw: str) -> VerifiedToken:
        token = UnverifiedToken.parse(raw)
        trusted = self._trusted(token.unverified_payload.get("iss"))
        alg, kid, rfc_9068 = _header(token.unverified_header, trusted.algorithms)
        key = await trusted.keys.key(kid, alg)
        if not key.verify(token.signing_input, token.signature):
            raise InvalidToken("the token's signature is wrong")
        signed = token.unverified_payload
        expires_at, not_before = self._checked_times(signed)
        verified = VerifiedToken(
            claims=self._checked(signed, trusted, token.token_id, rfc_9068=rfc_9068),
            not_before=not_before,
            expires_at=expires_at,
            key=key,
            kid=kid,
            keys=trusted.keys,
        )
        if self._clock() < expires_at:  # leeway lets a token pass, but it is not worth caching
            self._verified.keep(raw, verified)
        return verified

    def _trusted(self, unverified_issuer: object) -> TrustedIssuer:
        """Return the issuer that `iss` names, character by character (RFC 9068 §4); only its keys
        are used."""
        trusted = (
            self._issuers.get(unverified_issuer) if isinstance(unverified_issuer, str) else None
        )
        if trusted is None:
            raise InvalidToken("the token's issuer is not trusted here")
        return trusted

    def _checked_times(self, signed: Mapping[str, Any]) -> tuple[float, float]:
        """Return `exp`, and the later of `iat` and `nbf`. Raises `InvalidToken` unless now is
        between."""
        expires_at = numeric_date(signed, "exp")
        not_before = numeric_date(signed, "iat")
        if self._clock() >= expires_at + self.policy.leeway:
            raise InvalidToken("the token has expired")
        if "nbf" in signed:
            not_before = max(not_before, numeric_date(signed, "nbf"))
        self._check_not_before(not_before)
        return expires_at, not_before

    def _check_not_before(self, not_before: float) -> None:
        if not_before > self._clock() + self.policy.leeway:
            raise InvalidToken("the token is not valid yet")

    def _checked(
        self, signed: Mapping[str, Any], trusted: TrustedIssuer, token_id: str, *, rfc_9068: bool
    ) -> Claims:
        """Return the claims that do not depend on the time. Raises `InvalidToken`."""
        if rfc_9068:
            for name in _REQUIRED_BY_9068:
                identifier(signed, name)
        meant_for = audiences(signed)
        if {self.policy.audience, self.policy.mint_audience}.isdisjoint(meant_for):
            raise InvalidToken("the token is for another audience")
        if not isinstance(signed.get("gty", ""), str):
            raise InvalidToken("the claim gty is not usable")
        return Claims(
            token_id=token_id,
            issuer=trusted.issuer,
            subject=identifier(signed, "sub"),
            audiences=meant_for,
            scopes=scope_list(signed) if trusted.dialect == "okta" else scopes(signed),
            client_id=_client(signed, _CLIENT[trusted.dialect]),
            bound_to=_bound_to(signed),
            issued_at=int(numeric_date(signed, "iat")),
            expires_at=int(numeric_date(signed, "exp")),
            extra=signed,
        )

    def _is_machine(self, claims: Claims) -> bool:
        """Return whether a client obtained this token for itself.

        RFC 9700 §4.15: it must not pass for a user's, whatever its claims say.
        """
        return (
            claims.client_id in self.policy.minting_clients
            or claims.extra.get("gty") == _CLIENT_CREDENTIALS
            or claims.subject.endswith(_CLIENT_SUBJECT)
            or claims.subject == claims.client_id
        )

    def _is_minted(self, claims: Claims) -> bool:
        """Return whether this token's claims about a build are to be trusted.

        Only minting clients may make such claims, and only for themselves. Every token that passes
        here is a machine's by `_is_machine`.
        """
        issuers = self.policy.minting_issuers
        return (
            claims.client_id in self.policy.minting_clients
            and claims.subject == claims.client_id + _CLIENT_SUBJECT
            and claims.extra.get("gty", _CLIENT_CREDENTIALS) == _CLIENT_CREDENTIALS
            and (issuers is None or claims.issuer in issuers)
        )


def _header(
    unverified: Mapping[str, Any], algorithms: frozenset[str]
) -> tuple[str, str | None, bool]:
    """Return `alg`, `kid`, and whether the token follows RFC 9068. Raises `InvalidToken`.

    Keys that the header contains or points to (`jwk`, `jku`, `x5c`, `x5u`) are ignored.
    """
    alg, kid, typ = unverified.get("alg"), unverified.get("kid"), unverified.get("typ")
    if not isinstance(alg, str) or alg not in algorithms:  # case-sensitive, RFC 7515 §4.1.1
        raise InvalidToken("the token's algorithm is not accepted")
    if "crit" in unverified or "b64" in unverified:  # RFC 7515 §4.1.11, RFC 7797 §7
        raise InvalidToken("the token's header demands extensions that are not understood")
    if "kid" in unverified and not isinstance(kid, str):
        raise InvalidToken("the token's kid is not a string")
    if "typ" in unverified and not isinstance(typ, str):
        raise InvalidToken("the token's typ is not a string")
    kind = typ.lower().removeprefix("application/") if isinstance(typ, str) else None
    if kind == _ACCESS_TOKEN:
        return alg, kid, True
    if kind in _PLAIN:
        return alg, kid, False
    raise InvalidToken("the token's typ is not that of an access token")


def _bound_to(signed: Mapping[str, Any]) -> str | None:
    """Return the thumbprint in `cnf`, None without it. Any other binding cannot be proved here, so
    that such a token is refused."""
    if "cnf" not in signed:
        return None
    cnf = signed["cnf"]
    if not isinstance(cnf, dict) or cnf.keys() != {"jkt"}:
        raise InvalidToken("the token is bound to its holder in a way that is not known here")
    return identifier(cnf, "jkt")


def _client(signed: Mapping[str, Any], names: Sequence[str]) -> str:
    """Return the client id, by any of these claims; where several are present, they must agree."""
    clients = {identifier(signed, name) for name in names if name in signed}
    if len(clients) != 1:
        raise InvalidToken("the token does not say for which client it was issued")
    return clients.pop()
