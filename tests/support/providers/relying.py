"""Baton's side of a third party's provider: what asks it, and what reads its tokens."""

from contextlib import AsyncExitStack
from typing import Any, Literal

import httpx

from app.contract.scopes import DELEGATED
from app.minting import MintRequest
from app.tokens.exchanged import ExchangedTokens
from app.tokens.jwks import JwksCache
from app.tokens.minting.client_authentication import ClientAuthentication, ClientSecretPost
from app.tokens.minting.client_credentials import ClientCredentialsMinter
from app.tokens.minting.token_endpoint import TokenEndpoint
from app.tokens.minting.token_exchange import TokenExchange
from app.tokens.verifier import Policy, TrustedIssuer, Verifier
from tests.support.providers.oidc_provider import (
    API,
    BUILDS,
    CLIENT,
    NAMESPACE,
    SECRET,
    OidcProvider,
)

REQUEST = MintRequest(user_id="auth0|ann", build_id="bld_1", lifetime=7290)
POST = ClientSecretPost(client_id=CLIENT, client_secret=SECRET)


class Relying:
    """The verifier knows no more of the provider than its URLs."""

    def __init__(self, provider: OidcProvider, http: httpx.AsyncClient) -> None:
        self._provider = provider
        self._http = http
        algorithms = frozenset({provider.alg})
        self.keys = JwksCache(provider.keys_url, http, algorithms)
        trusted = TrustedIssuer(issuer=provider.issuer, keys=self.keys, algorithms=algorithms)
        policy = Policy(
            audience=API,
            mint_audience=BUILDS,
            namespace=NAMESPACE,
            minting_clients=frozenset({CLIENT}),
            minting_issuers=frozenset({provider.issuer}),
            delegated=DELEGATED,
        )
        self.verifier = Verifier([trusted], policy)
        self.exchanged = ExchangedTokens(self.verifier)

    def _endpoint(self, authentication: ClientAuthentication, **options: Any) -> TokenEndpoint:
        options = {"backoff": 0.05} | options
        return TokenEndpoint(self._provider.token_url, authentication, self._http, **options)

    def minter(
        self,
        authentication: ClientAuthentication = POST,
        target: Literal["audience", "resource"] = "audience",
        **options: Any,
    ) -> ClientCredentialsMinter:
        endpoint = self._endpoint(authentication, **options)
        return ClientCredentialsMinter(endpoint, BUILDS, self.verifier, target=target)

    def exchange(
        self,
        authentication: ClientAuthentication = POST,
        target: Literal["audience", "resource"] = "audience",
        **options: Any,
    ) -> TokenExchange:
        endpoint = self._endpoint(authentication, **options)
        return TokenExchange(endpoint, self.exchanged, target=target)


async def relying(stack: AsyncExitStack, provider: OidcProvider) -> Relying:
    http = await stack.enter_async_context(httpx.AsyncClient(trust_env=False))
    made = Relying(provider, http)
    stack.push_async_callback(made.keys.close)
    return made
