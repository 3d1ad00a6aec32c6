"""Build tokens that were obtained at submission, handed out one after another at dispatch.

They wait sealed, each for its own build: who reads the store, or puts one build's tokens on
another, gets nothing that opens. A token is handed out until a worker has claimed the build with
it, so that it is not lost with a lost message; the claim takes it away.
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
    """Where a build's sealed tokens wait."""

    async def first(self, build_id: str) -> str | None:
        """The one that is next; None when there is no more."""
        ...

    async def remove(self, build_id: str, sealed: str) -> None:
        """Throw one away; fine when it is gone already."""
        ...


def sealed(seal: Seal, build_id: str, tokens: Sequence[MintedToken]) -> tuple[str, ...]:
    """What is stored of them for a build."""
    return tuple(seal.seal(minted.token, purpose=_purpose(build_id)) for minted in tokens)


class PrefetchedTokenMinter:
    """A `TokenMinter` that asks nobody: the provider may be away, the user long gone.

    Unlike others it may hand out a token again: the one that no worker has claimed its build with.
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
        """See `TokenMinter`. A token that does not last any more is thrown away. Raises `NoneLeft`
        after the last one."""
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
        # Ours by its seal, and verified when it came; its keys need not be there to see its end.
        expires_at = numeric_date(UnverifiedToken.parse(raw).unverified_payload, "exp")
        if expires_at <= now:
            raise TooShort("the last of them has expired")
        try:
            facts = await self._tokens.build(raw, request.build_id)
        except KeysUnavailable as error:
            raise ProviderUnavailable(str(error), error.retry_after) from None
        except TokenError as error:
            # Not thrown away: keys or settings that are wrong for the moment would cost all builds.
            raise UnfitToken(
                f"the build's token, good when it was exchanged, is not accepted now: {error}; see "
                "whether BATON_ISSUER, BATON_JWKS_URL or BATON_MINT_CLIENT_ID have changed"
            ) from None
        check_fit(facts, request, asked_at=now)
        return MintedToken(token=raw, facts=facts)


def _purpose(build_id: str) -> str:
    return f"exchanged token of {build_id}"
