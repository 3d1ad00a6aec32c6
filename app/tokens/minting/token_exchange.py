"""The token exchange (RFC 8693) obtains build tokens for a user's token while that one is valid.

The exchange happens at submission: a user's token lives for minutes, while a build may wait for
hours. The exchanged token stays the user's (`sub`), is for the workers' API only (`aud`), and
carries the one scope of a build token; see `app.tokens.exchanged` for what ties it to its build.
Until dispatch it is stored sealed; see `app.tokens.minting.prefetched`.

Every attempt has a token of its own, and by the second attempt the user's has expired. The
decision: submission exchanges as many tokens as a build may have attempts, and each is good for one
claim. The other ways, and why not:

- Keeping the user's token until the provider is needed: it is worth more than all that comes of it.
- A refresh token (§2.2.1 leaves it to the provider): Auth0's On-Behalf-Of and Okta's service apps
  issue none; Keycloak only behind a switch that is off, and it dies with the user's session. And it
  would be the most valuable thing in the store: it makes tokens, while these are only some.
- Exchanging the exchanged token again (§2.1 allows any subject token): Auth0 takes tokens whose
  `aud` is the asking client's own API, and allows a chain of five in `act` (§4.1). At Keycloak and
  Okta it works only for a client's own tokens. None lets the new token outlive the user's session.
- One token for all attempts: a worker that was lost but lives on could report for its successor.

So the tokens have to outlast the wait in the queue, or the build ends there; the provider's
lifetime is what bounds both. Entra ID has no RFC 8693 (its On-Behalf-Of is a `jwt-bearer` grant
whose tokens carry `scp`), Ory Hydra no exchange at all: neither works here, see docs/providers.md.
"""

import asyncio
from collections.abc import Iterator
from typing import Final, Literal

from app.minting import MintedToken, MintRequest, ProviderUnavailable, UnfitToken
from app.tokens.claims import Claims
from app.tokens.errors import KeysUnavailable, TokenError
from app.tokens.exchanged import ExchangedTokens
from app.tokens.minting.fit import check_fit
from app.tokens.minting.token_endpoint import TokenAnswer, TokenEndpoint

GRANT_TYPE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN: Final = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105

#: Seconds after which a token without a `jti` differs from the one before, by its `iat`.
_SAME_TOKEN_DELAY: Final = 1.0
#: How often another token is requested after the provider repeated one.
_MAX_SAME_TOKENS: Final = 3


class TokenExchange:
    """A `TokenExchange` exchanges users' tokens at one endpoint. Safe to call from any number of
    tasks."""

    def __init__(
        self,
        endpoint: TokenEndpoint,
        tokens: ExchangedTokens,
        *,
        target: Literal["audience", "resource"] = "audience",
    ) -> None:
        """`target` is the parameter that names the workers' API (§2.1): `audience` at Auth0,
        Keycloak and Okta, `resource` (RFC 8707) elsewhere."""
        self._endpoint = endpoint
        self._tokens = tokens
        self._target = target

    def __repr__(self) -> str:
        return f"TokenExchange({self._endpoint!r})"

    async def exchange(self, subject_token: str, request: MintRequest) -> MintedToken:
        """Exchange a user's token for a build token, which is verified and fits the request.

        The caller has verified `subject_token`, and that its user may delegate: some providers let
        a client exchange a token for more than it holds. Raises `ProviderUnavailable` (retry
        later), `ProviderRefused` or `UnfitToken` (the message says what has to be changed).
        """
        policy = self._tokens.policy
        answer = await self._endpoint.ask(
            {
                "grant_type": GRANT_TYPE,
                "subject_token": subject_token,
                "subject_token_type": ACCESS_TOKEN,
                "requested_token_type": ACCESS_TOKEN,
                self._target: policy.mint_audience,
                "scope": " ".join(sorted(policy.delegated)),
            }
        )
        self._check_answer(answer)
        return await self._accept(answer.unverified_token, request, answer.asked_at)

    async def exchange_several(
        self, subject_token: str, request: MintRequest, count: int
    ) -> tuple[MintedToken, ...]:
        """Return `count` different tokens, one for each attempt. Raises what `exchange` raises."""
        found: dict[str, MintedToken] = {}
        repeats = 0
        while len(found) < count:
            minted = await self.exchange(subject_token, request)
            if minted.facts.token_id in found:
                repeats += 1
                if repeats > _MAX_SAME_TOKENS:
                    raise UnfitToken(
                        "the provider answers with the same token again and again: something "
                        "between here and it caches its answers"
                    )
                await asyncio.sleep(_SAME_TOKEN_DELAY)
            found[minted.facts.token_id] = minted
        return tuple(found.values())

    def _check_answer(self, answer: TokenAnswer) -> None:
        """Check the response's members by RFC 8693 §2.2.1, which gives a better error than the
        token would."""
        issued = answer.members.get("issued_token_type")
        if issued != ACCESS_TOKEN:
            flaw = "without saying of which type it is" if issued is None else "of another type"
            raise UnfitToken(
                f"the provider issued a token {flaw} (issued_token_type): see that the client may "
                "exchange for access tokens there"
            )
        scope = answer.members.get("scope")
        if scope is None:  # §2.2.1: as requested; the token is checked later
            return
        granted = frozenset(scope.split(" ")) - {""} if isinstance(scope, str) else frozenset()
        self._check_scope(granted)

    async def _accept(
        self, unverified_raw: str, request: MintRequest, asked_at: float
    ) -> MintedToken:
        try:
            facts = await self._tokens.build(unverified_raw, request.build_id)
        except KeysUnavailable as error:
            raise ProviderUnavailable(str(error), error.retry_after) from None
        except TokenError as error:
            raise UnfitToken(await self._explain(unverified_raw, error)) from None
        if facts.user_id != request.user_id:
            raise UnfitToken(
                "the exchanged token names another user than the one that was given: the provider "
                "writes a different sub for each client (pairwise subjects), or caches answers"
            )
        check_fit(facts, request, asked_at=asked_at)
        return MintedToken(token=unverified_raw, facts=facts)

    async def _explain(self, unverified_raw: str, refusal: TokenError) -> str:
        try:
            claims = await self._tokens.verifier.claims(unverified_raw)
        except TokenError as error:
            return (
                f"the exchanged token is not accepted: {error}; see that BATON_ISSUER, "
                "BATON_ALGORITHMS and BATON_MINT_AUDIENCE agree with the provider, that it issues "
                "JWTs for this audience, and that the clocks do"
            )
        self._check_scope(claims.scopes)
        return "; ".join(self._differences(claims)) or f"the exchanged token: {refusal}"

    def _differences(self, claims: Claims) -> Iterator[str]:
        policy = self._tokens.policy
        if claims.client_id not in policy.minting_clients:
            yield (
                f"the exchanged token is issued to client {claims.client_id!r}, not to the one "
                "that asked: set BATON_MINT_CLIENT_ID to the client's id as the provider writes it"
            )
        elif claims.subject == claims.client_id or claims.subject.endswith("@clients"):
            yield (
                "the exchanged token names the client as its subject instead of the user: the "
                "provider impersonates where it should exchange"
            )
        if claims.audiences != (policy.mint_audience,):
            yield (
                f"the exchanged token is for {', '.join(claims.audiences)} instead of only "
                f"{policy.mint_audience}: remove the other audiences from the client's scopes"
            )

    def _check_scope(self, granted: frozenset[str]) -> None:
        """Raise `UnfitToken` unless exactly the requested scope was granted."""
        wanted = self._tokens.policy.delegated
        asked = " ".join(sorted(wanted))
        wider = " ".join(sorted(granted - wanted))
        if wider:
            raise UnfitToken(
                f"the provider widened the token by scope '{wider}' beyond '{asked}': take these "
                "from the scopes that the client gets without asking (Keycloak: its default client "
                "scopes) and let exchanges only narrow (Keycloak: the client policy executor "
                "downscope-assertion-grant-enforcer)"
            )
        if granted != wanted:
            raise UnfitToken(
                f"the provider did not grant '{asked}' in the exchange: let the client ask for it "
                "on this API, and give the user the right to it"
            )
