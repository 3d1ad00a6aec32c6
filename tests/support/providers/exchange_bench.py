"""A scripted provider with token exchange (RFC 8693) and a real key, and what asks it."""

import asyncio
import json
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx
import jwt

from app.tokens.exchanged import ExchangedTokens
from app.tokens.keys import StaticKeys
from app.tokens.minting.client_authentication import ClientAuthentication, ClientSecretPost
from app.tokens.minting.token_endpoint import TokenEndpoint
from app.tokens.minting.token_exchange import TokenExchange
from app.tokens.signing_key import SigningKey
from app.tokens.verifier import TrustedIssuer, Verifier
from tests.support.providers.minting_bench import (
    AUDIENCE,
    CLIENT,
    REQUEST,
    SECRET,
    policy,
    read_body,
)
from tests.support.servers.scripted_server import (
    Answer,
    Heard,
    ScriptedServer,
    hangs,
    says,
    scripted,
    send,
)

KEY = SigningKey.generate("ES256")
ISSUER = "https://id.example.com/"
API = "https://api.example.com/"
SUBJECT_TOKEN = "the.users.token"


@dataclass(kw_only=True)
class Exchanger:
    """`changes` and `answer_changes` are its operator's mistakes."""

    server: ScriptedServer
    tokens: ExchangedTokens
    exchange: TokenExchange
    lifetime: int = 86400
    changes: dict[str, Any] = field(default_factory=dict)
    answer_changes: dict[str, Any] = field(default_factory=dict)
    first: list[Answer] = field(default_factory=list)  #: answers before the provider's own
    issued: int = 0

    def token(self, **changes: Any) -> str:
        now = int(time.time())
        self.issued += 1
        claims = {
            "iss": ISSUER,
            "sub": REQUEST.user_id,
            "aud": AUDIENCE,
            "client_id": CLIENT,
            "scope": "update:builds",
            "jti": str(self.issued),
            "iat": now,
            "exp": now + self.lifetime,
        } | changes
        return KEY.sign({n: value for n, value in claims.items() if value is not None}, typ="JWT")

    def user_token(self, **changes: Any) -> str:
        """What a browser gets from a sign-in."""
        scope = "read:builds create:builds update:builds"
        return self.token(**{"aud": API, "client_id": "spa", "scope": scope} | changes)

    async def answer(self, request: Heard, writer: asyncio.StreamWriter) -> None:
        if request.path == "/keys":
            await says({"keys": [KEY.public_jwk()]})(request, writer)
            return
        if self.first:
            await self.first.pop(0)(request, writer)
            return
        content = {
            "access_token": self.token(**{"sub": subject_of(request)} | self.changes),
            "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
            "token_type": "Bearer",
            "expires_in": self.lifetime,
        } | self.answer_changes
        content = {name: value for name, value in content.items() if value is not None}
        send(writer, json.dumps(content).encode())

    @property
    def asked(self) -> list[dict[str, str]]:
        return [read_body(heard) for heard in self.server.heard if heard.path != "/keys"]


def subject_of(request: Heard) -> str:
    """Whose token was sent; anything that is no token is ann's."""
    try:
        claims = jwt.decode(
            read_body(request)["subject_token"], options={"verify_signature": False}
        )
    except jwt.DecodeError:
        return REQUEST.user_id
    return str(claims["sub"])


def trusted() -> TrustedIssuer:
    return TrustedIssuer(
        issuer=ISSUER,
        keys=StaticKeys([KEY.verification_key()]),
        algorithms=frozenset({"ES256"}),
    )


async def exchanger(
    stack: AsyncExitStack,
    authentication: ClientAuthentication | None = None,
    target: Literal["audience", "resource"] = "audience",
) -> Exchanger:
    server = await stack.enter_async_context(scripted(hangs))
    http = await stack.enter_async_context(httpx.AsyncClient(trust_env=False))
    tokens = ExchangedTokens(Verifier([trusted()], policy()))
    endpoint = TokenEndpoint(
        f"{server.url}/token",
        authentication or ClientSecretPost(client_id=CLIENT, client_secret=SECRET),
        http,
        backoff=0.01,
        deadline=4,
    )
    made = Exchanger(
        server=server, tokens=tokens, exchange=TokenExchange(endpoint, tokens, target=target)
    )
    server.answer = made.answer
    return made
