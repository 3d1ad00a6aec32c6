"""An authorization server that exchanges users' tokens (RFC 8693), as long as a test lets it."""

import time
import uuid
from typing import Any, Final
from urllib.parse import parse_qs

import jwt

from tests.support.providers.authority import AUDIENCE, CLIENT, Authority

WORKERS: Final = "https://workers.example.com/"  #: the audience of what it issues


class ExchangingAuthority(Authority):
    def __init__(self) -> None:
        super().__init__()
        self.asked: list[dict[str, str]] = []  #: the members of each request
        self.lifetime = 24 * 3600
        self.changes: dict[str, Any] = {}  #: to the claims of what it issues
        self.trouble: tuple[dict[str, Any], int, int | None] | None = None  #: its answer to all

    def exchanged_claims(self, user: str, **changes: Any) -> dict[str, Any]:
        now = int(time.time())
        return {
            "iss": self.issuer,
            "sub": user,
            "aud": WORKERS,
            "azp": CLIENT,
            "scope": "update:builds",
            "jti": uuid.uuid4().hex,
            "iat": now,
            "exp": now + self.lifetime,
        } | changes

    def token_answer(self, said: bytes) -> tuple[dict[str, Any], int, int | None]:
        members = {name: value for name, (value,) in parse_qs(said.decode()).items()}
        self.asked.append(members)
        if self.trouble:
            return self.trouble
        subject = jwt.decode(
            members["subject_token"], self.key.public_key(), algorithms=["RS256"], audience=AUDIENCE
        )
        claims = self.exchanged_claims(subject["sub"], aud=members["audience"]) | self.changes
        return (
            {
                "access_token": self.sign(claims),
                "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
                "token_type": "Bearer",
            },
            200,
            None,
        )
