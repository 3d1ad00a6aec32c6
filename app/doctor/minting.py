"""The minting check obtains a build token by the code of dispatch, verifies it and drops it."""

import asyncio
from pathlib import Path
from typing import Final

import httpx

from app.bootstrap.tokens import Tokens, make_tokens, own_keys
from app.builds.ids import BuildIds
from app.builds.store import connect
from app.builds.store.prefetched_tokens import PrefetchedTokenStore
from app.config.settings import Settings
from app.contract import scopes
from app.contract.doctor import Finding
from app.minting import MintError, MintRequest, ProviderUnavailable
from app.tokens.claims import UserPrincipal
from app.tokens.errors import TokenError

_CHECK: Final = "minting"
_USER: Final = "user token"

#: The user that the token is for: it is nobody's `sub`, and no build has the token's build id.
_NOBODY: Final = "baton|doctor"

_DOC: Final = {
    "client_credentials": "docs/auth0.md says how it is set up; docs/providers.md for others",
    "token_exchange": "docs/providers.md says how it is set up",
    "local": "docs/providers.md says how it is set up",
}


async def check_minting(
    settings: Settings, http: httpx.AsyncClient, user_token: str | None
) -> list[Finding]:
    """Return whether build tokens can be obtained, and whether `user_token` may submit builds.

    `user_token` is what is exchanged where the minter is `token_exchange`. Raises `SettingsError`
    for a key file that cannot be used.
    """
    missing = await asyncio.to_thread(_missing_keys, settings)
    if missing:
        return [
            Finding.untried(
                _CHECK,
                f"there is no {missing[0]} yet (BATON_MINT_KEY_FILE)",
                "the API makes the first key when it starts; replicas need the same file",
            )
        ]
    redis = connect(settings.redis_url.get_secret_value())
    tokens = make_tokens(
        settings,
        http,
        await asyncio.to_thread(own_keys, settings),
        PrefetchedTokenStore(redis),
    )
    try:
        found = []
        user = None
        if user_token:
            user, finding = await _check_user_token(tokens, user_token)
            found.append(finding)
        if tokens.exchange is None:
            found.append(await _check_minter(settings, tokens))
        elif user is None or user_token is None:
            found.append(_skipped(tried=bool(user_token)))
        else:
            found.append(await _check_exchange(settings, tokens, user, user_token))
        return found
    finally:
        await tokens.minter.close()
        await tokens.keys.close()
        await redis.aclose()


def _missing_keys(settings: Settings) -> list[str]:
    if settings.minter != "local":
        return []
    return [path for path in settings.mint_key_file if not Path(path).exists()]


async def _check_minter(settings: Settings, tokens: Tokens) -> Finding:
    needed = settings.timers(settings.max_build_timeout).token_lifetime
    request = MintRequest(user_id=_NOBODY, build_id=BuildIds().new(), lifetime=needed)
    try:
        minted = await tokens.minter.mint(request)
    except ProviderUnavailable as error:
        return Finding.wrong(
            _CHECK,
            f"no token was to be had: {error}",
            f"see that BATON_MINT_TOKEN_URL ({settings.token_url}) is the provider's token "
            "endpoint and can be reached from here",
        )
    except MintError as error:
        return Finding.wrong(_CHECK, str(error), _DOC[settings.minter])
    facts = minted.facts
    lifetime = facts.expires_at - facts.issued_at
    names = f"{settings.claim_namespace}user_id and {settings.claim_namespace}build_id"
    return Finding.ok(
        _CHECK,
        f"{settings.minter} gave a token with scope {facts.scope}, audience {facts.audience}, the "
        f"claims {names}; it lasts {lifetime} s, and the longest build needs {needed:.0f} s",
    )


async def _check_user_token(tokens: Tokens, raw: str) -> tuple[UserPrincipal | None, Finding]:
    try:
        user = await tokens.verifier.user(raw)
    except TokenError as error:
        return None, Finding.wrong(
            _USER,
            f"not accepted: {error}",
            "see that it is an access token for BATON_AUDIENCE from BATON_ISSUER, and not over",
        )
    missing = {scopes.CREATE_BUILDS, *scopes.DELEGATED} - user.scopes
    if missing:
        return user, Finding.wrong(
            _USER,
            f"accepted, but nothing can be submitted with it: it lacks {' '.join(sorted(missing))}",
            "grant the scopes to the user and let the application ask for them",
        )
    return user, Finding.ok(_USER, "accepted, and may submit builds")


def _skipped(*, tried: bool) -> Finding:
    if tried:
        return Finding.untried(_CHECK, "the user's token is not accepted, so it was not exchanged")
    return Finding.untried(
        _CHECK,
        "not tried: token_exchange makes build tokens of a user's token, and there is none here",
        "set BATON_TOKEN to an access token of yours and run this again",
    )


async def _check_exchange(
    settings: Settings, tokens: Tokens, user: UserPrincipal, raw: str
) -> Finding:
    if tokens.exchange is None:  # pragma: no cover
        raise ValueError("nothing is exchanged here")
    try:
        minted = await tokens.exchange(raw)(
            user_id=user.user_id, build_id=BuildIds().new(), timeout=settings.max_build_timeout
        )
    except MintError as error:
        return Finding.wrong(_CHECK, str(error), _DOC[settings.minter])
    return Finding.ok(
        _CHECK,
        f"{len(minted.sealed)} tokens, one for each attempt, were exchanged for the user's: each "
        f"has the scope update:builds, the audience {settings.build_audience}, and lasts long "
        "enough",
    )
