"""`ExchangedTokens` decides which tokens that a provider exchanged for a user's are build tokens.

RFC 8693 describes the exchange. Unlike a machine's token, an exchanged one stays the user's: `sub`
is the user, and the client that it was issued to is ours. Stock providers write no build id into
it. It is valid for one build all the same: each attempt has the fingerprint of its token on record,
and the store refuses every other token. Where a provider does write the claim `build_id`, it must
be the right one.

No token is both an exchanged and another token (RFC 8725 §3.12): a user's token is not issued to a
minting client, and `Verifier.user` refuses those that are; a machine's `sub` is its client.
"""

from app.minting import BuildPrincipal
from app.tokens.claims import Claims, build_principal, identifier
from app.tokens.errors import InsufficientScope, InvalidToken, WrongKind
from app.tokens.verifier import Policy, Verifier

_CLIENT_SUBJECT = "@clients"  #: how a machine's `sub` ends


class ExchangedTokens:
    """`ExchangedTokens` verifies exchanged tokens. Safe to call from any number of tasks."""

    def __init__(self, verifier: Verifier) -> None:
        self.verifier = verifier

    @property
    def policy(self) -> Policy:
        return self.verifier.policy

    async def build(self, raw: str, build_id: str, jkt: str | None = None) -> BuildPrincipal:
        """Return the principal of the build `build_id`, if this token may act for it. Raises any
        `TokenError`.

        `jkt` is that of `Verifier.claims`. The caller compares the principal's `token_id` with the
        one on record for the attempt.
        """
        claims = await self.verifier.claims(raw, jkt)
        policy = self.policy
        if not self.is_exchanged(claims):
            raise WrongKind("this call takes a build token, as a worker gets it with its build")
        if claims.audiences != (policy.mint_audience,):
            raise InvalidToken("the token is for another audience")
        if claims.scopes != policy.delegated:
            raise InsufficientScope(
                policy.delegated, "a build token carries its one scope and no other"
            )
        if policy.build_id_claim in claims.extra:
            named = identifier(claims.extra, policy.build_id_claim)
            if named != build_id:
                raise WrongKind("the token is another build's")
        return build_principal(claims, user_id=claims.subject, build_id=build_id)

    def is_exchanged(self, claims: Claims) -> bool:
        """Return whether our client obtained this token for a user, acting by itself."""
        policy = self.policy
        return (
            claims.client_id in policy.minting_clients
            and claims.subject != claims.client_id
            and not claims.subject.endswith(_CLIENT_SUBJECT)
            and "gty" not in claims.extra  # Auth0's mark of other grants; never on exchanged ones
            and (policy.minting_issuers is None or claims.issuer in policy.minting_issuers)
            and _acts_itself(claims)
        )


def _acts_itself(claims: Claims) -> bool:
    """Return whether the client itself is the actor, where the provider writes the claim `act`.

    RFC 8693 §4.1: the outermost `act` names the current actor, nested ones are history.
    """
    if "act" not in claims.extra:
        return True
    act = claims.extra["act"]
    return isinstance(act, dict) and claims.client_id in (act.get("sub"), act.get("client_id"))
