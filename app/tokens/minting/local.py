"""The local minter signs build tokens with a key of its own: no provider, no round trip.

The tokens are RFC 9068 access tokens of an issuer of their own, whose keys are published so that
others can verify them too.
"""

import math
import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any

from app.contract.scopes import DELEGATED
from app.minting import MintedToken, MintRequest
from app.tokens.keys import KeySource, StaticKeys
from app.tokens.minting.fit import accept
from app.tokens.signing_key import SigningKey as SigningKey  # noqa: PLC0414  handed on
from app.tokens.verifier import Policy, TrustedIssuer, Verifier


class LocalMinter:
    """A `TokenMinter` whose first key signs, while all of its keys verify.

    To rotate, put the new key first, and keep the old one for the lifetime of a token.
    """

    def __init__(
        self,
        keys: Sequence[SigningKey],
        *,
        issuer: str,
        client_id: str,
        audience: str,
        namespace: str,
        delegated: frozenset[str] = DELEGATED,
        worker_keys: Sequence[str] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`worker_keys`: thumbprints of keys, to the first of which tokens are bound (RFC 9449
        §6.1)."""
        if len({key.kid for key in keys}) != len(keys) or not keys:
            raise ValueError("one or more signing keys, all different")
        self._keys = tuple(keys)
        self._issuer = issuer
        self._client_id = client_id
        self._bound_to = worker_keys[0] if worker_keys else None
        self._clock = clock
        self._policy = Policy(
            audience=audience,
            mint_audience=audience,
            namespace=namespace,
            minting_clients=frozenset({client_id}),
            delegated=delegated,
            worker_keys=frozenset(worker_keys),
        )
        trusted = TrustedIssuer(
            issuer=issuer,
            keys=self.key_source(),
            algorithms=frozenset(key.alg for key in keys),
        )
        self._verifier = Verifier([trusted], self._policy, clock=clock)

    async def mint(self, request: MintRequest) -> MintedToken:
        """See `TokenMinter`. Signing takes 0.3 ms at most (RS256), so the event loop does it."""
        now = self._clock()
        token = self._keys[0].sign(self._claims(request, now), typ="at+jwt")
        return await accept(self._verifier, token, request, asked_at=now, jkt=self._bound_to)

    def _claims(self, request: MintRequest, now: float) -> dict[str, Any]:
        """Return the claims of RFC 9068 §2.2, and those that name the build and its user."""
        bound = {"cnf": {"jkt": self._bound_to}} if self._bound_to else {}
        return bound | {
            "iss": self._issuer,
            # Each is rounded up by itself: a float of this size would lose the lifetime's fraction.
            "exp": math.ceil(now) + math.ceil(request.lifetime),
            "aud": self._policy.mint_audience,
            "sub": f"{self._client_id}@clients",
            "client_id": self._client_id,
            "iat": math.floor(now),
            "jti": secrets.token_urlsafe(16),
            "scope": " ".join(sorted(self._policy.delegated)),
            self._policy.user_id_claim: request.user_id,
            self._policy.build_id_claim: request.build_id,
        }

    def jwks(self) -> dict[str, Any]:
        """Return the JWK Set (RFC 7517 §5) to publish."""
        return {"keys": [key.public_jwk() for key in self._keys]}

    def key_source(self) -> KeySource:
        """Return the same keys for a `Verifier`."""
        return StaticKeys(key.verification_key() for key in self._keys)

    async def close(self) -> None:
        """Nothing was opened."""
