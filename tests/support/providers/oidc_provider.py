"""A third party's OpenID provider on loopback: npm's `oidc-provider`, started by the test.

Needs Node 18 or later, npm, and once a registry: see `tests/support/npm.py`.
"""

import json
import select
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from app.tokens.signing_key import SigningKey
from tests.support.npm import digest, node, packages
from tests.support.servers.redis_process import free_port

SOURCES: Final = Path(__file__).with_name("oidc_provider")
API: Final = "https://api.example.com/"
BUILDS: Final = "https://builds.example.com/"
NAMESPACE: Final = "https://example.com/"
CLIENT: Final = "baton-api"
SECRET: Final = "s3cret & more = 100%:safe"

Alg = Literal["ES256", "RS256"]
Dialect = Literal["auth0", "rfc9068"]

_OTHERWISE: Final = "NOTHING was tested against a third party's provider"
#: Seconds for an order.
_ANSWER: Final = 60


class OidcProvider:
    """Running from its making until `stop`; the same keys, clients and port after `start`."""

    def __init__(
        self,
        *,
        alg: Alg = "RS256",
        dialect: Dialect = "rfc9068",
        **changes: Any,
    ) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        self.issuer = f"http://127.0.0.1:{self.port}"
        self.token_url = f"{self.issuer}/token"
        self.keys_url = f"{self.issuer}/jwks"
        self.alg: Alg = alg
        self.keys = [SigningKey.generate(alg)]
        self._config: dict[str, Any] = {
            "issuer": self.issuer,
            "port": self.port,
            "alg": alg,
            "dialect": dialect,
            "namespace": NAMESPACE,
            "jwks": self._private_keys(),
            "machineScope": "update:builds",
            "subjectAudience": API,
            "exchangedNamesBuild": False,
            "widens": False,
            "actor": False,
            "signsIn": False,
            "answer": {},
            "resources": {
                API: {"scope": "read:builds create:builds update:builds", "lifetime": 600},
                BUILDS: {"scope": "update:builds", "lifetime": 9000},
            },
            "clients": [client(), spa()],
        } | changes
        self.start()

    def start(self) -> None:
        server = _beside(packages(SOURCES, _OTHERWISE), SOURCES / "server.mjs")
        self._process = subprocess.Popen(
            [node(_OTHERWISE), str(server)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self._say(self._config) == self.port

    def stop(self) -> None:
        """At once, as when the machine goes away."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate(timeout=20)
            self._process = None

    def configure(self, **changes: Any) -> None:
        """Change what is configured, while requests flow."""
        self._config |= changes
        self._say({"order": "configure", "changes": changes})

    def rotate(self, *, keep_old: bool = True) -> SigningKey:
        """Sign with a new key from now on; the old ones stay published unless told otherwise."""
        self.keys = [SigningKey.generate(self.alg), *(self.keys if keep_old else ())]
        self.configure(jwks=self._private_keys())
        return self.keys[0]

    def throttle(self, times: int, *, retry_after: int = 1) -> None:
        """Answer the next token requests with 429."""
        self._say({"order": "throttle", "times": times, "retry_after": retry_after})

    def user_token(
        self,
        sub: str = "auth0|ann",
        scope: str = "read:builds create:builds update:builds",
        audience: str = API,
    ) -> str:
        """What a browser got from a sign-in of this user."""
        order = {"order": "user token", "sub": sub, "scope": scope, "audience": audience}
        return str(self._say(order | {"client_id": "spa"}))

    def asked(self) -> dict[str, int]:
        """How many requests came for `token` and `jwks`, throttled ones included."""
        found: dict[str, int] = self._say({"order": "asked"})
        return found

    def _private_keys(self) -> dict[str, Any]:
        return {"keys": [_private_jwk(key) for key in self.keys]}

    def _say(self, order: dict[str, Any]) -> Any:
        process = self._process
        assert process and process.stdin and process.stdout and process.stderr
        process.stdin.write(json.dumps(order).encode() + b"\n")
        process.stdin.flush()
        ready, _, _ = select.select([process.stdout], [], [], _ANSWER)
        line = process.stdout.readline() if ready else b""
        if not line:
            process.kill()
            raise AssertionError(f"the provider does not answer: {process.stderr.read().decode()}")
        answer = json.loads(line)
        assert "failed" not in answer, answer["failed"]
        return answer["ok"]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def client(**changes: Any) -> dict[str, Any]:
    """Baton's own client at the provider; None takes a member away."""
    members = {
        "client_id": CLIENT,
        "client_secret": SECRET,
        "token_endpoint_auth_method": "client_secret_post",
        "grant_types": [
            "client_credentials",
            "urn:ietf:params:oauth:grant-type:token-exchange",
        ],
        "redirect_uris": [],
        "response_types": [],
    } | changes
    return {name: value for name, value in members.items() if value is not None}


def spa() -> dict[str, Any]:
    """The users' application."""
    return {
        "client_id": "spa",
        "token_endpoint_auth_method": "none",
        "redirect_uris": ["https://app.example.com/callback"],
    }


def terminal(**changes: Any) -> dict[str, Any]:
    """The client of `baton login`; `signsIn=True` gives the provider pages to sign in with."""
    return {
        "client_id": "terminal",
        "application_type": "native",  # any port of loopback (RFC 8252 §7.3)
        "token_endpoint_auth_method": "none",
        "redirect_uris": ["http://127.0.0.1/callback"],
        "response_types": ["code"],
        "grant_types": [
            "authorization_code",
            "refresh_token",
            "urn:ietf:params:oauth:grant-type:device_code",
        ],
    } | changes


def _beside(folder: Path, program: Path) -> Path:
    """A copy of `program` where it finds the packages: Node looks beside the file that asks."""
    copy = folder / f"{digest(program)}-{program.name}"
    if not copy.exists():
        with tempfile.NamedTemporaryFile(dir=folder, delete=False) as draft:
            draft.write(program.read_bytes())
        Path(draft.name).rename(copy)
    return copy


def _private_jwk(key: SigningKey) -> dict[str, Any]:
    private = load_pem_private_key(key.pem(), password=None)
    if isinstance(private, RSAPrivateKey):
        jwk = RSAAlgorithm.to_jwk(private, as_dict=True)
    else:
        assert isinstance(private, EllipticCurvePrivateKey)
        jwk = ECAlgorithm.to_jwk(private, as_dict=True)
    jwk.pop("key_ops", None)
    return {**jwk, **key.public_jwk()}
