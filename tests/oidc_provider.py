"""A third party's OpenID provider on loopback: npm's `oidc-provider`, started by the test.

Needs Node 18 or later, npm, and once a registry: the packages, by `package-lock.json`, are kept in
the user's cache. CI must have Node. Where the packages cannot be had, the tests are skipped with
the reason, in CI as well: a registry that is away says nothing about Baton.
"""

import contextlib
import hashlib
import json
import os
import select
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, NoReturn, Self

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from app.tokens.signing_key import SigningKey
from tests.needs import needs
from tests.redis_process import free_port

SOURCES: Final = Path(__file__).with_name("oidc_provider")
API: Final = "https://api.example.com/"
BUILDS: Final = "https://builds.example.com/"
NAMESPACE: Final = "https://example.com/"
CLIENT: Final = "baton-api"
SECRET: Final = "s3cret & more = 100%:safe"

Alg = Literal["ES256", "RS256"]
Dialect = Literal["auth0", "rfc9068"]

_OLDEST_NODE: Final = 18
#: Seconds for an order, and for npm.
_ANSWER: Final = 60
_INSTALL: Final = 120


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
        server = _beside(installed(), SOURCES / "server.mjs")
        self._process = subprocess.Popen(
            [_node(), str(server)],
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


def installed() -> Path:
    """The folder with the packages, installed on first use."""
    node = _node()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "baton-tests"
    folder = cache / f"oidc-provider-{_digest(SOURCES / 'package-lock.json')}"
    if folder.exists():
        return folder
    npm = shutil.which("npm") or _skip("npm is not installed")
    cache.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix="draft-", dir=cache))
    for name in ("package.json", "package-lock.json"):
        shutil.copyfile(SOURCES / name, draft / name)
    try:
        done = subprocess.run(
            [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
            cwd=draft,
            env={**os.environ, "PATH": f"{Path(node).parent}{os.pathsep}{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            timeout=_INSTALL,
            check=False,
        )
        why = f"{done.stdout}{done.stderr}"[-500:] if done.returncode else ""
    except subprocess.TimeoutExpired:
        why = f"it took longer than {_INSTALL} s"
    if why:
        shutil.rmtree(draft)
        _skip(f"npm cannot install oidc-provider: {why}")
    with contextlib.suppress(OSError):  # somebody else was faster
        draft.rename(folder)  # appears whole or not at all
    shutil.rmtree(draft, ignore_errors=True)
    return folder


def _beside(packages: Path, program: Path) -> Path:
    """A copy of `program` where it finds the packages: Node looks beside the file that asks."""
    copy = packages / f"{_digest(program)}-{program.name}"
    if not copy.exists():
        with tempfile.NamedTemporaryFile(dir=packages, delete=False) as draft:
            draft.write(program.read_bytes())
        Path(draft.name).rename(copy)
    return copy


def _node() -> str:
    path = needs("node")
    done = subprocess.run([path, "--version"], capture_output=True, text=True, check=True)
    if int(done.stdout.strip().removeprefix("v").split(".")[0]) < _OLDEST_NODE:
        _skip(f"oidc-provider needs Node {_OLDEST_NODE}, this is {done.stdout.strip()}")
    return path


def _skip(why: str) -> NoReturn:
    pytest.skip(f"{why}: NOTHING was tested against a third party's provider")


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def _private_jwk(key: SigningKey) -> dict[str, Any]:
    private = load_pem_private_key(key.pem(), password=None)
    if isinstance(private, RSAPrivateKey):
        jwk = RSAAlgorithm.to_jwk(private, as_dict=True)
    else:
        assert isinstance(private, EllipticCurvePrivateKey)
        jwk = ECAlgorithm.to_jwk(private, as_dict=True)
    jwk.pop("key_ops", None)
    return {**jwk, **key.public_jwk()}
