"""Checks whether the token that a provider issued is the one that was requested.

Providers drop custom claims, ignore requested scopes and set lifetimes of their own without saying
so: only the token itself tells. Each error message says what to change, and where.
"""

import math
from collections.abc import Iterator

from app.minting import (
    BuildPrincipal,
    MintedToken,
    MintRequest,
    ProviderUnavailable,
    TooShort,
    UnfitToken,
)
from app.tokens.claims import Claims
from app.tokens.errors import KeysUnavailable, TokenError
from app.tokens.verifier import Policy, Verifier


async def accept(
    verifier: Verifier,
    unverified_raw: str,
    request: MintRequest,
    *,
    asked_at: float,
    jkt: str | None = None,
) -> MintedToken:
    """Verify a new token as the API will verify the worker's calls, and check that it fits the
    request.

    `asked_at` is when the provider was asked, in seconds since 1970; `jkt` is the thumbprint of the
    key that the token should be bound to. Raises `UnfitToken`, or `ProviderUnavailable` while the
    issuer's keys cannot be fetched.
    """
    try:
        facts = await verifier.build(unverified_raw, jkt)
    except KeysUnavailable as error:
        raise ProviderUnavailable(str(error), error.retry_after) from None
    except TokenError as error:
        raise UnfitToken(await _explain(verifier, unverified_raw, error, jkt)) from None
    check_fit(facts, request, asked_at=asked_at)
    return MintedToken(token=unverified_raw, facts=facts)


def check_fit(facts: BuildPrincipal, request: MintRequest, *, asked_at: float) -> None:
    """Raise `UnfitToken` unless the token is for this build, and `TooShort` if it expires too
    early."""
    if facts.build_id != request.build_id or facts.user_id != request.user_id:
        raise UnfitToken(
            "the token was made for another build or user: something between here and the "
            "provider caches its answers, or the provider does not take the claims from the request"
        )
    # Whole seconds: an issuer rounds its `iat` down, and the second may have changed since the
    # request. The margin for minting covers the rest.
    lifetime = facts.expires_at - max(math.floor(asked_at), facts.issued_at)
    if lifetime < request.lifetime:
        raise TooShort(
            f"the token lasts {lifetime} s but this build needs {math.ceil(request.lifetime)} s: "
            f"raise the token lifetime of API {facts.audience} at the provider to "
            f"{_with_room(request.lifetime)} s or more, or lower BATON_MAX_BUILD_TIMEOUT, the "
            "build's timeout, BATON_QUEUE_TTL or BATON_REPORT_WINDOW"
        )


def _with_room(seconds: float) -> int:
    """Return the next full minute at least 30 s later, so that a slow clock does not matter."""
    return math.ceil((seconds + 30) / 60) * 60


async def _explain(
    verifier: Verifier, unverified_raw: str, refusal: TokenError, jkt: str | None
) -> str:
    try:
        claims = await verifier.claims(unverified_raw, jkt)
    except TokenError as error:
        return (
            f"the provider's token is not accepted: {error}; see that BATON_ISSUER, "
            "BATON_ALGORITHMS, BATON_MINT_AUDIENCE and the API's signing algorithm at the "
            "provider agree, and that the clocks do"
        )
    return "; ".join(_differences(claims, verifier.policy)) or f"the token: {refusal}"


def _differences(claims: Claims, policy: Policy) -> Iterator[str]:
    wanted = " ".join(sorted(policy.delegated))
    if claims.client_id not in policy.minting_clients:
        yield (
            f"the token is issued to client {claims.client_id!r}, not to the one that asked: set "
            "BATON_MINT_CLIENT_ID to the client's id as the provider writes it into tokens"
        )
    elif claims.subject != claims.client_id + "@clients":
        yield (
            f"the token's sub is {claims.subject!r} instead of '{claims.client_id}@clients': the "
            "provider does not mark it as a machine's"
        )
    if policy.minting_issuers is not None and claims.issuer not in policy.minting_issuers:
        yield f"the token's issuer {claims.issuer!r} is not the one that mints build tokens"
    if claims.audiences != (policy.mint_audience,):
        yield (
            f"the token is for {', '.join(claims.audiences)} instead of only "
            f"{policy.mint_audience}: set BATON_MINT_AUDIENCE to the API's identifier"
        )
    if claims.scopes != policy.delegated:
        yield (
            f"the token has scope '{' '.join(sorted(claims.scopes))}' instead of exactly "
            f"'{wanted}': grant the machine-to-machine application only {wanted} on this API"
        )
    for name in (policy.user_id_claim, policy.build_id_claim):
        if not isinstance(claims.extra.get(name), str):
            yield (
                f"the token has no claim {name}: the Action that adds it is not deployed or does "
                "not know this client, or BATON_CLAIM_NAMESPACE is another one"
            )
