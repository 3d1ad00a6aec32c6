"""The whole of Baton for end-to-end tests: every part a process of its own, on free ports."""

import os
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import httpx

from app.contract.sealing import Seal, new_key
from tests.integration.dev_process import BATON
from tests.support.fork_server import Process, fork_server
from tests.support.servers.redis_process import RedisProcess, free_port
from tests.support.signing_in.code_flow import user_token
from tests.support.waiting import wait_until

AUDIENCE = "https://builds.example.com/"
SCOPE = "openid profile email read:builds create:builds update:builds"

#: Short enough for tests, long enough for a busy machine.
SETTINGS = {
    "BATON_LEASE": "4",
    "BATON_KILL_GRACE": "2",
    "BATON_REPORT_WINDOW": "60",
    "BATON_QUEUE_TTL": "60",
    "BATON_MAX_BUILD_TIMEOUT": "300",
    # One user asks for what otherwise a hundred do.
    "BATON_RATE_PER_USER": "100000/minute",
    "BATON_RATE_PER_ADDRESS": "100000/minute",
}


@dataclass
class Part:
    """One process of the stack; its output goes to a file."""

    name: str
    argv: list[str]
    env: dict[str, str]
    log: Path
    fork: bool = True  #: from a process that has imported it all; else executed
    process: Process | None = None
    _out: IO[bytes] | None = field(default=None, repr=False)

    def start(self) -> None:
        self._out = self.log.open("ab")
        self.process = fork_server().start(self.argv, self.env, self._out, fork=self.fork)

    @property
    def pid(self) -> int:
        assert self.process, f"{self.name} is not running"
        return self.process.pid

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(how)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(20)
            self.process = None
        if self._out is not None:
            self._out.close()

    def output(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""


class Stack:
    """Redis, issuer and API, started; workers on demand (`worker()`)."""

    _fork = True

    def __init__(self, folder: Path, *, sandbox: str = "process", **settings: str) -> None:
        self.folder = folder
        self.redis = RedisProcess(folder)
        self.issuer_url = f"http://127.0.0.1:{free_port()}/"
        self.api_url = f"http://127.0.0.1:{free_port()}"
        self._sandbox = sandbox
        keys = settings.pop("BATON_MESSAGE_KEYS", new_key())
        self.seal = Seal(keys.split())
        self._env = {
            **{k: v for k, v in os.environ.items() if not k.startswith("BATON_")},
            **SETTINGS,
            "BATON_ISSUER": self.issuer_url,
            "BATON_AUDIENCE": AUDIENCE,
            "BATON_MINT_CLIENT_SECRET": "the-secret-of-the-tests",
            "BATON_MESSAGE_KEYS": keys,
            "BATON_DASHBOARD_CLIENT_ID": "baton-spa",
            "BATON_CLI_CLIENT_ID": "baton-cli",
            **settings,
        }
        self.issuer = self._part(
            "issuer",
            "issuer",
            BATON_ISSUER_PORT=self.issuer_url.rsplit(":", 1)[1].strip("/"),
            BATON_ISSUER_KEY_DIR=str(folder / "keys"),
            BATON_ISSUER_REDIRECT_URIS="http://127.0.0.1/callback http://127.0.0.1/",
            BATON_CORS_ORIGINS=self.api_url,
        )
        self.api = self._api_part("api", self.api_url)
        self.workers: list[Part] = []
        self._parts = [self.issuer, self.api]
        self._tokens: dict[tuple[str, str], str] = {}

    def _part(self, name: str, command: str, **env: str) -> Part:
        return Part(
            name=name,
            argv=[BATON, command],
            env={**self._env, **env},
            log=self.folder / f"{name}.log",
            fork=self._fork,
        )

    def _api_part(self, name: str, url: str, api_url: str | None = None) -> Part:
        return self._part(
            name,
            "api",
            BATON_REDIS_URL=self.redis.url,
            BATON_API_URL=api_url or self.api_url,
            BATON_PORT=url.rsplit(":", 1)[1],
        )

    def worker(self, *, concurrency: int = 2, **env: str) -> Part:
        """Start a worker of its own and wait until it listens."""
        name = f"worker{len(self.workers) + 1}"
        part = Part(
            name=name,
            argv=[BATON, "worker"],
            env={
                # Only what a worker gets: nothing that could mint or read the store.
                "PATH": os.environ["PATH"],
                "BATON_BROKER_URL": self.redis.url,
                "BATON_API_URL": self.api_url,
                "BATON_MESSAGE_KEYS": self._env["BATON_MESSAGE_KEYS"],
                "BATON_SANDBOX": self._sandbox,
                "BATON_DEVELOPMENT": "1",
                "BATON_GIT_PROTOCOLS": "https,ssh,http,file",
                "BATON_GIT_NETWORKS": "127.0.0.0/8",
                "BATON_WORKER_CONCURRENCY": str(concurrency),
                "BATON_WORKER_NAME": name,
                **env,
            },
            log=self.folder / f"{name}.log",
            fork=self._fork,
        )
        part.start()
        self.workers.append(part)
        self._parts.append(part)
        wait_until(f"{name} is ready", lambda: "ready" in part.output(), seconds=60)
        return part

    def start_api(self) -> None:
        self.api.start()
        self.wait_ready()

    def replica(self, api_url: str | None = None) -> tuple[Part, str]:
        """Start one more API process over the same store; returns it and its own URL. With
        `api_url`, that is where clients reach it, through a proxy."""
        url = f"http://127.0.0.1:{free_port()}"
        part = self._api_part(f"api{len(self._parts)}", url, api_url)
        part.start()
        self._parts.append(part)
        self.wait_ready(url)
        return part, url

    def wait_ready(self, url: str | None = None) -> None:
        """Wait for the API, or for the replica at `url`."""
        wait_until("the API is ready", lambda: self._ready(url or self.api_url), seconds=60)

    def _ready(self, url: str) -> bool:
        try:
            return httpx.get(f"{url}/readyz", timeout=5).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    def token(self, user: str = "ann", scope: str = SCOPE) -> str:
        """A user's token, by the issuer's own code flow over HTTP."""
        if (user, scope) not in self._tokens:
            self._tokens[user, scope] = user_token(
                self.issuer_url, user=user, scope=scope, audience=AUDIENCE
            )
        return self._tokens[user, scope]

    def http(self, token: str | None = None) -> httpx.Client:
        """A client that speaks as a user (default: ann)."""
        bearer = self.token() if token is None else token
        return httpx.Client(
            base_url=self.api_url, headers={"Authorization": f"Bearer {bearer}"}, timeout=30
        )

    def logs(self) -> str:
        return "\n".join(f"──── {part.name}\n{part.output()[-6000:]}" for part in self._parts)

    def without_issuer(self) -> Self:
        """For a test that is the issuer itself."""
        self._parts.remove(self.issuer)
        return self

    def __enter__(self) -> Self:
        try:
            if self.issuer in self._parts:
                self.issuer.start()
            self.start_api()
        except BaseException:
            print(self.logs())  # noqa: T201  the reason why nothing came up
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            print(self.logs())  # noqa: T201  pytest shows it with the failure
        self._stop()

    def _stop(self) -> None:
        for part in reversed(self._parts):
            part.stop()
        self.redis.stop(signal.SIGKILL)


class ExecutedStack(Stack):
    """Its parts are executed as users do it, which costs six times as much: for what is about the
    commands, or looks at their environment in /proc."""

    _fork = False
