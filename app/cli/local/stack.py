"""`Stack` runs all of Baton on one machine: store, issuer, API and worker, a process each."""

import fcntl
import os
import secrets
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

from app.cli.defaults import CLI_CLIENT_ID, DEFAULT_AUDIENCE, SPA_CLIENT_ID
from app.cli.local import store_server
from app.cli.local.dev_settings import remove_settings, write_settings
from app.cli.local.supervisor import Child, Supervisor
from app.contract import paths
from app.contract.queue import broker_of
from app.contract.sealing import new_key

#: Seconds for a part to be ready, on a slow and busy machine.
_START_TIMEOUT: Final = 60
#: Seconds between SIGTERM and SIGKILL. A build that takes longer than the worker's is given to a
#: worker again by the next stack that uses the same data.
_WORKER_GRACE: Final = 10
_SERVER_GRACE: Final = 8

#: Settings that a worker does not get: with one of these a build could read or mint tokens.
_NOT_FOR_WORKERS: Final = ("BATON_MINT_", "BATON_REDIS_", "BATON_ISSUER", "BATON_CORS_")

#: Redirect URIs of the CLI and of the dashboard; the port does not count on loopback.
_REDIRECT_URIS: Final = "http://127.0.0.1/callback http://127.0.0.1/ http://localhost/"

#: The API's own defaults, which `--workers` may raise.
_DISPATCH_WINDOW: Final = 16
_USER_CONCURRENCY: Final = 4


#: Networks that a developer's git server may be in: this machine, and those of homes and offices.
_NEARBY: Final = "127.0.0.0/8 ::1/128 10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 fc00::/7"


class StackError(Exception):
    """The stack cannot run here; the message says what to change."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StackOptions:
    """`StackOptions` are what `baton dev` is asked for."""

    data: Path  #: the data directory, made if it does not exist
    port: int  #: the API's; 0 for any free one
    issuer_port: int  #: the issuer's; 0 for any free one
    workers: int  #: builds at once


class Stack:
    """A `Stack` runs while its context lasts; it is entered once, from the main thread.

    `progress` is called with a part's name and a sentence when the part is ready. The constructor
    locks the data directory and raises `StackError`. Entering raises `StackError`, `StartFailed` or
    `Interrupted`, and leaves nothing running then.
    """

    def __init__(
        self,
        options: StackOptions,
        supervisor: Supervisor,
        environ: Mapping[str, str],
        progress: Callable[[str, str], None],
    ) -> None:
        self._options = options
        self._supervisor = supervisor
        self._environ = environ
        self._progress = progress
        # Before the ports: a stack that uses the directory uses them too, and is what to name.
        self._lock = _locked(options.data)
        self.port = _port(options.port, "--port")
        self.issuer_port = _port(options.issuer_port, "--issuer-port", other_than=self.port)
        self.api_url = f"http://127.0.0.1:{self.port}"
        self.issuer = f"http://127.0.0.1:{self.issuer_port}/"
        self.audience = environ.get("BATON_AUDIENCE", DEFAULT_AUDIENCE)

    def __enter__(self) -> Self:
        try:
            store, broker = self._start_store()
            secret = secrets.token_urlsafe(32)
            # Kept on disk: messages that wait when the stack ends are read after its next start.
            keys = _message_keys(self._options.data)
            # All start at once: none needs another before its first request.
            issuer = self._start_issuer(secret)
            api = self._start_api(store, secret, keys)
            worker = self._start_worker(broker, keys)
            self._wait_until_ready(issuer, api, worker)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def _end(self) -> None:
        self._supervisor.stop()
        remove_settings(self._options.data)
        self._lock.close()

    # ── the parts ──────────────────────────────────

    def _start_store(self) -> tuple[str, str]:
        """Start the store; return its URL for the API, and its URL as the workers' broker."""
        given = self._environ.get("BATON_REDIS_URL")
        if given:
            if not import_module("app.cli.local.external_store").answers(given):
                raise StackError("BATON_REDIS_URL: no Redis answers there")
            self._progress("store", "the Redis of BATON_REDIS_URL")
            return given, broker_of(given)
        server = store_server.choose(self._options.data.resolve() / "store")
        store_server.start(server, self._supervisor, self._env())
        what = f"{server.name}, data in {self._options.data}"
        if not server.keeps:
            what = f"{server.name}: nothing is kept; redis-server or valkey-server would keep it"
        self._progress("store", what)
        return server.url, server.broker_url

    def _start_issuer(self, secret: str) -> Child:
        env = self._env(
            BATON_ISSUER=self.issuer,
            BATON_ISSUER_HOST="127.0.0.1",
            BATON_ISSUER_PORT=str(self.issuer_port),
            BATON_ISSUER_KEY_DIR=str(self._options.data.resolve() / "keys"),
            BATON_AUDIENCE=self.audience,
            BATON_MINT_CLIENT_SECRET=secret,
            # The dashboard is a client, too, and fetches its tokens from the API's origin.
            BATON_ISSUER_REDIRECT_URIS=_REDIRECT_URIS,
            BATON_CORS_ORIGINS=f"{self._environ.get('BATON_CORS_ORIGINS', '')} {self.api_url} "
            f"http://localhost:{self.port}",
        )
        return self._supervisor.start("issuer", _baton("issuer"), env, grace=_SERVER_GRACE)

    def _start_api(self, store: str, secret: str, keys: str) -> Child:
        env = self._env(
            BATON_REDIS_URL=store,
            BATON_API_URL=self.api_url,
            BATON_HOST="127.0.0.1",
            BATON_PORT=str(self.port),
            BATON_ISSUER=self.issuer,
            BATON_AUDIENCE=self.audience,
            BATON_MINTER="client_credentials",
            BATON_MINT_TOKEN_URL=self.issuer + "oauth/token",
            BATON_MINT_CLIENT_SECRET=secret,
        )
        env.setdefault("BATON_MESSAGE_KEYS", keys)
        env.setdefault("BATON_DASHBOARD_CLIENT_ID", SPA_CLIENT_ID)
        env.setdefault("BATON_CLI_CLIENT_ID", CLI_CLIENT_ID)
        workers = self._options.workers
        env.setdefault("BATON_DISPATCH_WINDOW", str(max(_DISPATCH_WINDOW, workers)))
        env.setdefault("BATON_USER_CONCURRENCY", str(max(_USER_CONCURRENCY, workers)))
        write_settings(self._options.data, env)
        return self._supervisor.start("api", _baton("api"), env, grace=_SERVER_GRACE)

    def _start_worker(self, broker: str, keys: str) -> Child:
        own = {
            name: value
            for name, value in self._env().items()
            if not name.startswith(_NOT_FOR_WORKERS)
        }
        own.setdefault("BATON_BROKER_URL", broker)
        own.setdefault("BATON_MESSAGE_KEYS", keys)
        own.setdefault("BATON_SHUTDOWN_GRACE", "1")  # Ctrl-C means now; the build starts again
        own.setdefault("BATON_GIT_PROTOCOLS", "https,ssh,http,file")
        own.setdefault("BATON_GIT_NETWORKS", _NEARBY)
        own["BATON_API_URL"] = self.api_url
        own["BATON_WORKER_CONCURRENCY"] = str(self._options.workers)
        # `_wait_until_ready` reads its line "ready", which has this level.
        if own.get("BATON_LOG_LEVEL") != "debug":
            own["BATON_LOG_LEVEL"] = "info"
        return self._supervisor.start("worker", _baton("worker"), own, grace=_WORKER_GRACE)

    def _wait_until_ready(self, issuer: Child, api: Child, worker: Child) -> None:
        # The issuer comes first: the API fetches its keys to answer whether it is ready.
        self._until_ok(issuer, self.issuer_port, "/.well-known/openid-configuration")
        self._progress("issuer", self.issuer)
        self._until_ok(api, self.port, paths.READYZ)
        self._progress("api", self.api_url)
        self._supervisor.wait_ready(
            worker,
            lambda: any("ready" in line for line in list(worker.lines)),
            seconds=_START_TIMEOUT,
        )
        plural = "s" if self._options.workers > 1 else ""
        self._progress("worker", f"{self._options.workers} build{plural} at a time")

    def _env(self, **settings: str) -> dict[str, str]:
        """Return a part's environment: this process' own without a user's token, and `settings`."""
        env = {name: value for name, value in self._environ.items() if name != "BATON_TOKEN"}
        near = ",".join(filter(None, (env.get("NO_PROXY"), "127.0.0.1,localhost")))
        return {
            **env,
            "NO_PROXY": near,
            "no_proxy": near,
            "PYTHONUNBUFFERED": "1",
            "BATON_DEVELOPMENT": "1",
            **settings,
        }

    def _until_ok(self, child: Child, port: int, path: str) -> None:
        def ok() -> bool:
            connection = HTTPConnection("127.0.0.1", port, timeout=10)
            try:
                connection.request("GET", path)
                return connection.getresponse().status == HTTPStatus.OK
            except (OSError, HTTPException):
                return False
            finally:
                connection.close()

        self._supervisor.wait_ready(child, ok, seconds=_START_TIMEOUT)


def _baton(command: str) -> list[str]:
    # -P: the current directory may have an `app` of its own.
    return [sys.executable, "-P", "-m", "app.cli", command]


def _locked(data: Path) -> IO[str]:
    """Make the data directory, and lock it until the returned file is closed.

    Raises `StackError`, which names the process that holds the lock.
    """
    try:
        data.mkdir(parents=True, exist_ok=True)
        (data / ".gitignore").write_text("*\n", encoding="utf-8")
        lock = (data / "lock").open("a+", encoding="utf-8")
    except OSError as error:
        raise StackError(f"--data {data}: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.seek(0)
        holder = lock.read().strip() or "unknown"
        lock.close()
        raise StackError(
            f"{data} is in use by another baton dev (process {holder}): stop that one, or choose "
            "another directory with --data and other ports with --port"
        ) from None
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n")
    lock.flush()
    return lock


def _message_keys(data: Path) -> str:
    """Return the key that seals tokens in messages, a new one at first. Raises `StackError`."""
    path = data / "message-keys"
    try:
        path.touch(mode=0o600)
        if not path.stat().st_size:
            path.write_text(new_key() + "\n", encoding="utf-8")
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise StackError(f"--data {data}: {error.strerror}") from error


def _port(port: int, option: str, *, other_than: int = 0) -> int:
    """Return `port` if it is free now, or any free one for 0. Raises `StackError`."""
    if port == 0:
        while (free := store_server.free_port()) == other_than:
            pass
        return free
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise StackError(
                f"port {port} cannot be used ({error.strerror}): choose another one with {option}"
            ) from None
    return port
