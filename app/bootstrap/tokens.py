"""The settings say which tokens the API trusts, and where its build tokens come from."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from app.builds.model import PrefetchedTokens
from app.builds.service import PrefetchTokens
from app.config.settings import Settings
from app.contract import scopes
from app.contract.sealing import Seal
from app.contract.status import Reason
from app.errors import SettingsError
from app.minting import MintError, MintRequest, TokenMinter
from app.tokens.errors import KeyFileError
from app.tokens.exchanged import ExchangedTokens
from app.tokens.jwks import JwksCache
from app.tokens.minting.client_authentication import (
    AssertionKey,
    ClientAuthentication,
    ClientSecretBasic,
    ClientSecretPost,
    PrivateKeyJwt,
)
from app.tokens.minting.client_credentials import ClientCredentialsMinter
from app.tokens.minting.local import LocalMinter, SigningKey
from app.tokens.minting.prefetched import PrefetchedTokenMinter, PrefetchedTokenSource, sealed
from app.tokens.minting.token_endpoint import TokenEndpoint
from app.tokens.minting.token_exchange import TokenExchange
from app.tokens.verifier import Policy, TrustedIssuer, Verifier

log = logging.getLogger(__name__)

#: Seconds and tries for one exchange; both are small, because the user waits for the response.
_EXCHANGE_TIMEOUT: Final = 5.0
_MAX_EXCHANGE_ATTEMPTS: Final = 3

#: Takes a user's token, and returns the function that obtains tokens for a build of that user.
PrefetchFor = Callable[[str], PrefetchTokens]

#: Is called after each exchange with its seconds, and the reason when it brought no tokens.
OnExchange = Callable[[float, Reason | None], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Tokens:
    """`Tokens` holds the parts of one API process that verify and get tokens."""

    verifier: Verifier
    minter: TokenMinter
    keys: JwksCache
    published: Mapping[str, Any]  #: the JWK Set of the `local` minter, else without keys
    #: Verifies build tokens that were exchanged for users'.
    exchanged: ExchangedTokens | None = None
    exchange: PrefetchFor | None = None  #: obtains those tokens, for one user


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnKeys:
    """`OwnKeys` holds the private keys of this API, which are read from files."""

    signing: Sequence[SigningKey]  #: for the tokens of the `local` minter
    assertion: AssertionKey | None  #: for the assertions of the minting client


def own_keys(settings: Settings) -> OwnKeys:
    """Read the private keys. Raises `SettingsError` for a file that cannot be used."""
    return OwnKeys(signing=_signing_keys(settings), assertion=_assertion_key(settings))


def _signing_keys(settings: Settings) -> list[SigningKey]:
    if settings.minter != "local":
        return []
    try:
        return [SigningKey.load_or_create(Path(path)) for path in settings.mint_key_file]
    except KeyFileError as error:
        raise SettingsError(f"BATON_MINT_KEY_FILE: {error}") from None


def _assertion_key(settings: Settings) -> AssertionKey | None:
    path = settings.mint_assertion_key_file
    if settings.minter == "local" or path is None:
        return None
    try:
        return AssertionKey.load(
            path, alg=settings.mint_assertion_alg, kid=settings.mint_assertion_kid
        )
    except KeyFileError as error:
        raise SettingsError(f"BATON_MINT_ASSERTION_KEY_FILE: {error}") from None


def make_tokens(
    settings: Settings,
    http: httpx.AsyncClient,
    own: OwnKeys,
    prefetched: PrefetchedTokenSource,
    *,
    on_exchange: OnExchange = lambda _seconds, _reason: None,
) -> Tokens:
    """Wire verifier and minter as the settings say; `http` reaches the provider and the issuer."""
    keys = JwksCache(settings.keys_url, http, frozenset(settings.algorithms))
    users = TrustedIssuer(
        issuer=settings.issuer,
        keys=keys,
        algorithms=frozenset(settings.algorithms),
        dialect=settings.token_dialect,
    )
    context = _Context(settings, http, own, prefetched, on_exchange, keys, users)
    return _PROVIDERS[settings.minter](context)


@dataclass(frozen=True, slots=True)
class _Context:
    """What a provider's row of `_PROVIDERS` makes its parts of."""

    settings: Settings
    http: httpx.AsyncClient
    own: OwnKeys
    prefetched: PrefetchedTokenSource
    on_exchange: OnExchange
    keys: JwksCache
    users: TrustedIssuer  #: the issuer of users' tokens

    def verifier(self, minting: TrustedIssuer) -> Verifier:
        """Make the verifier of users' tokens and of build tokens, which `minting` issues."""
        settings = self.settings
        policy = Policy(
            audience=settings.audience,
            mint_audience=settings.build_audience,
            namespace=settings.claim_namespace,
            minting_clients=frozenset({settings.mint_client_id}),
            minting_issuers=frozenset({minting.issuer}),
            delegated=scopes.DELEGATED,
            leeway=settings.leeway,
            worker_keys=frozenset(settings.dpop_worker_keys),
        )
        return Verifier([self.users] if minting is self.users else [self.users, minting], policy)


def _local(context: _Context) -> Tokens:
    settings = context.settings
    minter = LocalMinter(
        keys=context.own.signing,
        issuer=settings.local_issuer,
        client_id=settings.mint_client_id,
        audience=settings.build_audience,
        namespace=settings.claim_namespace,
        worker_keys=settings.dpop_worker_keys,
    )
    minting = TrustedIssuer(
        issuer=settings.local_issuer,
        keys=minter.key_source(),
        algorithms=frozenset({"ES256", "RS256"}),
    )
    return Tokens(
        verifier=context.verifier(minting),
        minter=minter,
        keys=context.keys,
        published=minter.jwks(),
    )


def _client_credentials(context: _Context) -> Tokens:
    settings = context.settings
    verifier = context.verifier(context.users)
    endpoint = TokenEndpoint(
        settings.token_url, _authentication(context), context.http, body=settings.mint_body
    )
    return Tokens(
        verifier=verifier,
        minter=ClientCredentialsMinter(
            endpoint, settings.build_audience, verifier, target=settings.mint_target
        ),
        keys=context.keys,
        published={"keys": []},
    )


def _authentication(context: _Context) -> ClientAuthentication:
    settings, key = context.settings, context.own.assertion
    client_id, secret = settings.mint_client_id, settings.mint_client_secret
    if key:
        audience = settings.mint_assertion_audience or settings.issuer
        return PrivateKeyJwt(client_id, key, audience=audience)
    method = (
        ClientSecretBasic
        if settings.mint_authentication == "client_secret_basic"
        else ClientSecretPost
    )
    return method(client_id=client_id, client_secret=secret.get_secret_value() if secret else "")


# ── token exchange ────────────────────────────────────────────────────────────────────────────


def _token_exchange(context: _Context) -> Tokens:
    settings, seal = context.settings, context.settings.seal
    if seal is None:  # pragma: no cover
        raise SettingsError("BATON_MESSAGE_KEYS is not set")
    verifier = context.verifier(context.users)
    exchanged = ExchangedTokens(verifier)
    endpoint = TokenEndpoint(
        settings.token_url,
        _authentication(context),
        context.http,
        deadline=_EXCHANGE_TIMEOUT,
        attempts=_MAX_EXCHANGE_ATTEMPTS,
    )
    exchange = TokenExchange(endpoint, exchanged, target=settings.mint_target)
    return Tokens(
        verifier=verifier,
        minter=PrefetchedTokenMinter(context.prefetched, seal, exchanged),
        keys=context.keys,
        published={"keys": []},
        exchanged=exchanged,
        exchange=lambda subject_token: _prefetch_with(
            exchange, subject_token, settings, seal, context.on_exchange
        ),
    )


def _prefetch_with(
    exchange: TokenExchange,
    subject_token: str,
    settings: Settings,
    seal: Seal,
    on_exchange: OnExchange,
) -> PrefetchTokens:
    """Return the function by which a submission gets a token for each possible attempt."""

    async def prefetch(*, user_id: str, build_id: str, timeout: float) -> PrefetchedTokens:
        request = MintRequest(
            user_id=user_id,
            build_id=build_id,
            lifetime=settings.timers(timeout).token_lifetime,
        )
        started, reason = time.perf_counter(), None
        try:
            minted = await exchange.exchange_several(subject_token, request, settings.max_attempts)
        except MintError as error:
            log.warning("not submitted: %s", error)
            reason = error.reason
            raise
        finally:
            on_exchange(time.perf_counter() - started, reason)
        last = max(each.facts.expires_at for each in minted)
        return PrefetchedTokens(
            sealed=sealed(seal, build_id, minted), ttl=max(1.0, last - time.time())
        )

    return prefetch


#: What `BATON_MINTER` names.
_PROVIDERS: Final[Mapping[str, Callable[[_Context], Tokens]]] = {
    "client_credentials": _client_credentials,
    "token_exchange": _token_exchange,
    "local": _local,
}
