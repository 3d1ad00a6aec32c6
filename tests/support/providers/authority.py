"""An authorization server for tests that will sign anything: on a real socket, with a real key."""

import base64
import hashlib
import hmac
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

AUDIENCE = "https://builds.example.com/"
NAMESPACE = "https://example.com/"
CLIENT = "baton-api"
USER_SCOPE = "openid profile email read:builds create:builds update:builds"


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Authority:
    """Issues like Auth0: `/oauth/token` for the client, and `sign` for whatever a test wants."""

    def __init__(self) -> None:
        self.key = rsa.generate_private_key(65537, 2048)
        self.stranger = rsa.generate_private_key(65537, 2048)  # a key that nobody publishes
        self.kid = "the-key"
        self.mint_lifetime = 24 * 3600
        authority = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(authority.jwks() if "jwks" in self.path else {})

            def do_POST(self) -> None:
                said = self.rfile.read(int(self.headers["Content-Length"]))
                self._answer(*authority.token_answer(said))

            def _answer(
                self, body: dict[str, Any], status: int = 200, retry_after: int | None = None
            ) -> None:
                content = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                if retry_after is not None:
                    self.send_header("Retry-After", str(retry_after))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self.issuer = f"http://127.0.0.1:{self._server.server_port}/"

    def token_answer(self, said: bytes) -> tuple[dict[str, Any], int, int | None]:
        """Body, status and `Retry-After` of the answer to a token request."""
        body = json.loads(said)
        token = self.sign(self.build_claims(body["user_id"], body["build_id"]))
        return {"access_token": token, "token_type": "Bearer"}, 200, None

    def jwks(self) -> dict[str, Any]:
        public = jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        return {"keys": [{**public, "kid": self.kid, "use": "sig", "alg": "RS256"}]}

    def user_claims(self, user: str = "auth0|ann", **changes: Any) -> dict[str, Any]:
        now = int(time.time())
        return {
            "iss": self.issuer,
            "sub": user,
            "aud": [AUDIENCE, f"{self.issuer}userinfo"],
            "azp": "spa",
            "scope": USER_SCOPE,
            "iat": now,
            "exp": now + 3600,
        } | changes

    def build_claims(self, user: str, build_id: str, **changes: Any) -> dict[str, Any]:
        now = int(time.time())
        return {
            "iss": self.issuer,
            "sub": f"{CLIENT}@clients",
            "aud": AUDIENCE,
            "azp": CLIENT,
            "gty": "client-credentials",
            "scope": "update:builds",
            "iat": now,
            "exp": now + self.mint_lifetime,
            f"{NAMESPACE}user_id": user,
            f"{NAMESPACE}build_id": build_id,
        } | changes

    def sign(self, claims: dict[str, Any], **header: Any) -> str:
        return jwt.encode(claims, self.key, algorithm="RS256", headers={"kid": self.kid, **header})

    def sign_as_stranger(self, claims: dict[str, Any], **header: Any) -> str:
        return jwt.encode(
            claims, self.stranger, algorithm="RS256", headers={"kid": self.kid, **header}
        )

    def unsigned(self, claims: dict[str, Any], algorithm: str = "none") -> str:
        header = {"alg": algorithm, "typ": "JWT", "kid": self.kid}
        return f"{b64(json.dumps(header).encode())}.{b64(json.dumps(claims).encode())}."

    def hmac_with_public_key(self, claims: dict[str, Any]) -> str:
        """HS256 whose secret is the published RSA key (RFC 8725 §2.1)."""
        public = self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        header = {"alg": "HS256", "typ": "JWT", "kid": self.kid}
        signing_input = f"{b64(json.dumps(header).encode())}.{b64(json.dumps(claims).encode())}"
        signature = hmac.new(public, signing_input.encode(), hashlib.sha256).digest()
        return f"{signing_input}.{b64(signature)}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
