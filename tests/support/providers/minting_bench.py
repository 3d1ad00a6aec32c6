"""Minters on real parts, each beside a verifier that was told of its issuer only."""

import asyncio
import json
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import parse_qs

import httpx

from app.contract.scopes import DELEGATED
from app.minting import MintRequest, TokenMinter
from app.tokens.jwks import JwksCache
from app.tokens.minting.client_authentication import ClientAuthentication, ClientSecretPost
from app.tokens.minting.client_credentials import ClientCredentialsMinter
from app.tokens.minting.local import LocalMinter
from app.tokens.minting.token_endpoint import TokenEndpoint
from app.tokens.signing_key import SigningKey
from app.tokens.verifier import Policy, TrustedIssuer, Verifier
from tests.support.servers.scripted_server import (
    Answer,
    Heard,
    ScriptedServer,
    hangs,
    says,
    scripted,
    send,
)

CLIENT = "baton-api"
SECRET = "s3cret & more = ünsafe"
AUDIENCE = "https://builds.example.com/"
NAMESPACE = "https://example.com/"
REQUEST = MintRequest(user_id="auth0|ann", build_id="bld_1", lifetime=7290.0)
KEY = SigningKey.generate("RS256")


def policy() -> Policy:
    return Policy(
        audience="https://api.example.com/",
        mint_audience=AUDIENCE,
        namespace=NAMESPACE,
        minting_clients=frozenset({CLIENT}),
        delegated=DELEGATED,
    )


@dataclass(kw_only=True)
class Provider:
    """A provider like Auth0 with the Action deployed; `changes` are its operator's mistakes."""

    server: ScriptedServer
    lifetime: int = 86400
    changes: dict[str, Any] = field(default_factory=dict)
    answer_changes: dict[str, Any] = field(default_factory=dict)
    first: list[Answer] = field(default_factory=list)  #: answers before the provider's own
    asked: list[Heard] = field(default_factory=list)

    @property
    def issuer(self) -> str:
        return f"{self.server.url}/"

    def claims(self, user_id: str, build_id: str) -> dict[str, Any]:
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "sub": f"{CLIENT}@clients",
            "aud": AUDIENCE,
            "azp": CLIENT,
            "gty": "client-credentials",
            "scope": "update:builds",
            "iat": now,
            "exp": now + self.lifetime,
            f"{NAMESPACE}user_id": user_id,
            f"{NAMESPACE}build_id": build_id,
        } | self.changes
        return {name: value for name, value in claims.items() if value is not None}

    async def answer(self, request: Heard, writer: asyncio.StreamWriter) -> None:
        if request.path == "/keys":
            await says({"keys": [KEY.public_jwk()]})(request, writer)
            return
        self.asked.append(request)
        if self.first:
            await self.first.pop(0)(request, writer)
            return
        members = read_body(request)
        token = KEY.sign(self.claims(members["user_id"], members["build_id"]), typ="JWT")
        content = {"access_token": token, "token_type": "Bearer", "expires_in": self.lifetime}
        send(writer, json.dumps(content | self.answer_changes).encode())


def read_body(request: Heard) -> dict[str, str]:
    if request.headers["content-type"] == "application/json":
        members: dict[str, str] = json.loads(request.body)
        return members
    form = parse_qs(request.body.decode(), strict_parsing=True)
    return {name: value for name, (value,) in form.items()}


@dataclass(frozen=True, kw_only=True)
class Bench:
    """A minter, and a verifier that was told of its issuer only: as another process would be."""

    minter: TokenMinter
    verifier: Verifier


@dataclass(frozen=True, kw_only=True)
class ProviderBench(Bench):
    provider: Provider


async def with_provider(
    stack: AsyncExitStack,
    body: Literal["json", "form"] = "json",
    authentication: ClientAuthentication | None = None,
    **options: Any,
) -> ProviderBench:
    server = await stack.enter_async_context(scripted(hangs))
    provider = Provider(server=server)
    server.answer = provider.answer
    http = await stack.enter_async_context(httpx.AsyncClient(trust_env=False))

    def verifier() -> Verifier:
        keys = JwksCache(f"{server.url}/keys", http, frozenset({"RS256"}))
        stack.push_async_callback(keys.close)
        trusted = TrustedIssuer(issuer=provider.issuer, keys=keys, algorithms=frozenset({"RS256"}))
        return Verifier([trusted], policy())

    endpoint = TokenEndpoint(
        f"{server.url}/oauth/token",
        authentication or ClientSecretPost(client_id=CLIENT, client_secret=SECRET),
        http,
        body=body,
        **{"backoff": 0.01} | options,
    )
    minter = ClientCredentialsMinter(endpoint, AUDIENCE, verifier())
    stack.push_async_callback(minter.close)
    return ProviderBench(minter=minter, verifier=verifier(), provider=provider)


def local(keys: list[SigningKey]) -> LocalMinter:
    return LocalMinter(
        keys,
        issuer="https://api.example.com/",
        client_id=CLIENT,
        audience=AUDIENCE,
        namespace=NAMESPACE,
    )


async def with_own_key(stack: AsyncExitStack, alg: Literal["ES256", "RS256"]) -> Bench:
    """The verifier reads the keys from where they are published."""
    minter = local([SigningKey.generate(alg)])
    server = await stack.enter_async_context(scripted(says(minter.jwks())))
    http = await stack.enter_async_context(httpx.AsyncClient(trust_env=False))
    keys = JwksCache(server.url, http, frozenset({alg}))
    stack.push_async_callback(keys.close)
    stack.push_async_callback(minter.close)
    trusted = TrustedIssuer(
        issuer="https://api.example.com/", keys=keys, algorithms=frozenset({alg})
    )
    return Bench(minter=minter, verifier=Verifier([trusted], policy()))
