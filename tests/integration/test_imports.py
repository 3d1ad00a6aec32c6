"""What each command has imported, as its own interpreter says: when it ends, or when it is asked.

A start costs what it imports, and what a process never imports cannot go wrong in it.
"""

import json
import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest

from app.contract import paths
from tests.integration.dev_process import BATON, Dev, descendants, environment
from tests.support.waiting import wait_until

#: Run before all else by each Python that has it on its path.
HOOK = """
import atexit, json, os, signal, sys

def tell(*_):
    path = os.path.join(os.environ["IMPORTS"], str(os.getpid()))
    with open(path + ".part", "w") as file:
        json.dump([sys.orig_argv, [name for name, module in sys.modules.items() if module]], file)
    os.rename(path + ".part", path)

atexit.register(tell)
signal.signal(signal.SIGRTMIN, tell)
"""

SERVERS = {"celery", "kombu", "limits", "prometheus_client", "redis", "starlette", "uvicorn"}
HEAVY = {"asyncio", "cryptography", "httpx", "opentelemetry", "pydantic", "rich"}

NOTHING = ({"app.cli", "app.errors"}, SERVERS | HEAVY)
CLIENT = (
    {"app.cli", "app.client", "app.contract", "app.errors", "app.tls"},
    {*SERVERS, "cryptography", "opentelemetry"},
)
HARDENED = {"app.prctl", "app.process_hardening"}
SERVER = {
    "app.cli", "app.config.environment", "app.contract", "app.errors", "app.observability",
    *HARDENED,
}  # fmt: skip

#: For each command: rooms of ours that it may know; packages of others that it may not.
RULES: Mapping[str, tuple[set[str], set[str]]] = {
    "--version": NOTHING,
    "--help": NOTHING,
    "token": CLIENT,
    "login": CLIENT,
    "logout": CLIENT,
    "list": CLIENT,
    "show": CLIENT,
    "submit": CLIENT,
    "logs": CLIENT,
    "dev": (
        HARDENED | {"app.cli", "app.contract", "app.errors"},
        (SERVERS | HEAVY) - {"cryptography"},
    ),
    "issuer": (
        SERVER
        | {"app.api.middleware.security_headers", "app.bootstrap.issuer", "app.issuer"}
        | {"app.config.issuer_settings", "app.minting", "app.tokens"},
        (SERVERS | HEAVY) - {"asyncio", "cryptography", "pydantic", "starlette", "uvicorn"},
    ),
    "api": (
        SERVER
        | {"app.api", "app.bootstrap.api", "app.bootstrap.running", "app.bootstrap.tokens"}
        | {"app.builds", "app.minting", "app.tls"}
        | {"app.config.lifetime", "app.config.rates", "app.config.settings", "app.tokens"},
        {"opentelemetry.sdk", "rich", "worker"},
    ),
    "worker": (
        SERVER | {"app.tls"},
        {"limits", "opentelemetry.sdk", "prometheus_client", "rich", "starlette", "uvicorn"},
    ),
}


class Imports:
    """Programs that leave a list of what they imported when they end."""

    def __init__(self, folder: Path) -> None:
        self._told = folder / "told"
        self._told.mkdir()
        (folder / "sitecustomize.py").write_text(HOOK)
        self.settings = {"PYTHONPATH": str(folder), "IMPORTS": str(self._told)}

    def baton(self, *arguments: str, **settings: str) -> str:
        done = subprocess.run(
            [BATON, *arguments], env=environment(**self.settings, **settings),
            check=False, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        return done.stdout.strip()

    def ask(self, pid: int) -> None:
        """Have a process that goes on say it now."""
        os.kill(pid, signal.SIGRTMIN)
        wait_until(f"{pid} has answered", (self._told / str(pid)).exists)

    def by_command(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for file in self._told.iterdir():
            argv, modules = json.loads(file.read_text())
            after = next((i for i, word in enumerate(argv) if word in {BATON, "app.cli"}), None)
            if after is not None:
                found.setdefault(argv[after + 1], set()).update(modules)
        return found


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """The modules of every command, of a whole stack that has run a build."""
    folder = tmp_path_factory.mktemp("imports")
    imports = Imports(folder)
    imports.baton("--version")
    imports.baton("--help")
    with Dev(folder / "data", **imports.settings) as dev:
        dev.wait_ready()
        user = {"BATON_API_URL": dev.api_url, "BATON_CONFIG_DIR": str(folder / "user")}
        user["BATON_TOKEN"] = imports.baton("token", "--user", "ann", **user)
        build = imports.baton("submit", "--run", "echo hello", **user)
        assert "hello" in imports.baton("logs", "--follow", build, **user)
        assert "succeeded" in imports.baton("show", build, **user)
        assert build in imports.baton("list", **user)
        imports.baton("login", "--issuer", "http://127.0.0.1:1/", **user)  # nobody is there
        imports.baton("logout", **user)
        for path in (paths.METRICS, paths.OPENAPI, paths.DOCS):
            assert httpx.get(dev.api_url + path).is_success
        for pid, line in descendants(dev.process.pid).items():
            if "app.cli" in line:
                imports.ask(pid)
    return imports.by_command()


@pytest.mark.parametrize("command", RULES)
def test_a_command_imports_what_it_uses(command: str, imported: dict[str, set[str]]) -> None:
    rooms, strange = RULES[command]
    modules = imported[command]

    ours = {m for m in modules if m.startswith("app.")}
    assert {
        m for m in ours if not any(within(m, room) or within(room, m) for room in rooms)
    } == set()
    assert {m for m in modules if any(within(m, name) for name in strange)} == set()


def within(module: str, package: str) -> bool:
    return f"{module}.".startswith(f"{package}.")
