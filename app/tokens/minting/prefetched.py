"""The prefetched minter hands out build tokens that were obtained when the build was submitted.

The tokens are stored sealed, each for its own build: a reader of the store, or someone who moves a
token to another build, gets nothing that can be opened. A token is handed out until a worker has
claimed the build with it, so that it is not lost with a lost message; the claim removes it.
"""

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from app.contract.sealing import Seal, Unsealable
from app.minting import (
    MintedToken,
    MintRequest,
    NoneLeft,
    ProviderUnavailable,
    TooShort,
    UnfitToken,
)
from app.tokens.claims import UnverifiedToken, numeric_date
from app.tokens.errors import KeysUnavailable, TokenError
from app.tokens.exchanged import ExchangedTokens
from app.tokens.minting.fit import check_fit


class PrefetchedTokenSource(Protocol):
    """A `PrefetchedTokenSource` stores a build's sealed tokens."""

    async def first(self, build_id: str) -> str | None:
        """Return the next token; None when there is none left."""
        ...

    async def remove(self, build_id: str, sealed: str) -> None:
        """Remove a token; safe to call twice."""
        ...


def sealed(seal: Seal, build_id: str, tokens: Sequence[MintedToken]) -> tuple[str, ...]:
    """Return the tokens sealed for a build, as they are stored."""
    return tuple(seal.seal(minted.token, purpose=_purpose(build_id)) for minted in tokens)


class PrefetchedTokenMinter:
    """A `TokenMinter` that needs no provider, which may be down, and no user, who may have signed
    out.

    Unlike other minters it hands a token out again until a worker has claimed the build with it.
    """

    def __init__(
        self,
        prefetched: PrefetchedTokenSource,
        seal: Seal,
        tokens: ExchangedTokens,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._source = prefetched
        self._seal = seal
        self._tokens = tokens
        self._clock = clock

    async def mint(self, request: MintRequest) -> MintedToken:
        """See `TokenMinter`. Tokens that expire too early are removed. Raises `NoneLeft` after the
        last one."""
        last: TooShort | None = None
        while (prefetched := await self._source.first(request.build_id)) is not None:
            raw = self._open(prefetched, request.build_id)
            try:
                return await self._read(raw, request)
            except TooShort as error:
                last = error
                await self._source.remove(request.build_id, prefetched)
        raise NoneLeft(
            "no token is left of those that were exchanged when the build was submitted"
            + (f"; {last}" if last else "")
            + ": submit it again"
        )

    async def close(self) -> None:
        """Nothing was opened."""

    def _open(self, prefetched: str, build_id: str) -> str:
        try:
            return self._seal.open(prefetched, purpose=_purpose(build_id))
        except Unsealable as error:
            raise UnfitToken(
                f"the build's token cannot be unsealed: {error}; keep a sealing key for as long as "
                "builds wait"
            ) from None

    async def _read(self, raw: str, request: MintRequest) -> MintedToken:
        now = self._clock()
        # The seal shows that it was verified before: `exp` can be read without the issuer's keys.
        expires_at = numeric_date(UnverifiedToken.parse(raw).unverified_payload, "exp")
        if expires_at <= now:
            raise TooShort("the last of them has expired")
        try:
            facts = await self._tokens.build(raw, request.build_id)
        except KeysUnavailable as error:
            raise ProviderUnavailable(str(error), error.retry_after) from None
        except TokenError as error:
            # The token is kept: keys or settings that are wrong for a moment must cost no builds.
            raise UnfitToken(
                f"the build's token, good when it was exchanged, is not accepted now: {error}; see "
                "whether BATON_ISSUER, BATON_JWKS_URL or BATON_MINT_CLIENT_ID have changed"
            ) from None
        check_fit(facts, request, asked_at=now)
        return MintedToken(token=raw, facts=facts)


def _purpose(build_id: str) -> str:
    return f"exchanged token of {build_id}"
