"""Whom the API trusts, and where its build tokens come from: made from the settings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from app.builds.dispatch import Mint
from app.builds.errors import MintFailed
from app.builds.model import Ticket
from app.contract import scopes
from app.contract.builds import TokenFacts
from app.contract.status import Reason
from app.settings import Settings, SettingsError
from app.tokens.errors import KeyFileError, MintError, ProviderUnavailable, TooShort
from app.tokens.jwks import JwksCache
from app.tokens.minting import MintRequest, TokenMinter
from app.tokens.minting.client_credentials import ClientCredentialsMinter
from app.tokens.minting.local import LocalMinter, SigningKey
from app.tokens.verifier import Policy, TrustedIssuer, Verifier


@dataclass(frozen=True, kw_only=True, slots=True)
class Tokens:
    verifier: Verifier
    minter: TokenMinter
    keys: JwksCache
    published: Mapping[str, Any]


def signing_keys(settings: Settings) -> list[SigningKey]:
    """The keys of the `local` minter. Raises `SettingsError`."""
    if settings.minter != "local":
        return []
    try:
        return [SigningKey.load_or_create(Path(path)) for path in settings.mint_key_file]
    except KeyFileError as error:
        raise SettingsError(f"BATON_MINT_KEY_FILE: {error}") from None


def make_tokens(
    settings: Settings, http: httpx.AsyncClient, signing_keys: Sequence[SigningKey]
) -> Tokens:
    keys = JwksCache(settings.keys_url, http, frozenset(settings.algorithms))
    issuers = [
        TrustedIssuer(issuer=settings.issuer, keys=keys, algorithms=frozenset(settings.algorithms))
    ]
    local: LocalMinter | None = None
    if settings.minter == "local":
        local = LocalMinter(
            keys=signing_keys,
            issuer=settings.local_issuer,
            client_id=settings.mint_client_id,
            audience=settings.build_audience,
            namespace=settings.claim_namespace,
        )
        issuers.append(
            TrustedIssuer(
                issuer=settings.local_issuer,
                keys=local.key_source(),
                algorithms=frozenset({"ES256", "RS256"}),
            )
        )
    policy = Policy(
        audience=settings.audience,
        mint_audience=settings.build_audience,
        namespace=settings.claim_namespace,
        minting_clients=frozenset({settings.mint_client_id}),
        minting_issuers=frozenset({issuers[-1].issuer}),
        delegated=scopes.DELEGATED,
        leeway=settings.leeway,
    )
    verifier = Verifier(issuers, policy)
    if local:
        return Tokens(verifier=verifier, minter=local, keys=keys, published=local.jwks())
    secret = settings.mint_client_secret
    minter = ClientCredentialsMinter(
        token_url=settings.token_url,
        client_id=settings.mint_client_id,
        client_secret=secret.get_secret_value() if secret else "",
        audience=settings.build_audience,
        http=http,
        verifier=verifier,
        body=settings.mint_body,
    )
    return Tokens(verifier=verifier, minter=minter, keys=keys, published={"keys": []})


def mint_with(minter: TokenMinter) -> Mint:
    """What dispatch needs of a minter, in its own words."""

    async def mint(*, user_id: str, build_id: str, lifetime: float) -> Ticket:
        request = MintRequest(user_id=user_id, build_id=build_id, lifetime=lifetime)
        try:
            minted = await minter.mint(request)
        except ProviderUnavailable as error:
            raise MintFailed(Reason.NO_TOKEN, str(error), error.retry_after) from error
        except MintError as error:
            raise MintFailed(
                Reason.TOKEN_REFUSED, str(error), others_too=not isinstance(error, TooShort)
            ) from error
        facts = minted.facts
        return Ticket(
            token=minted.token,
            token_id=facts.token_id,
            facts=TokenFacts(
                issuer=facts.issuer,
                audience=facts.audience,
                scope=facts.scope,
                client_id=facts.client_id,
                user_id=facts.user_id,
                build_id=facts.build_id,
                issued_at=datetime.fromtimestamp(facts.issued_at, UTC),
                expires_at=datetime.fromtimestamp(facts.expires_at, UTC),
            ),
        )

    return mint
