"""`baton login` as people run it, against a provider of a third party."""

import json
import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Any, Self

from tests.integration.dev_process import BATON, environment
from tests.support.fork_server import fork_server
from tests.support.providers.oidc_provider import API, OidcProvider, spa, terminal
from tests.support.signing_in.browser import browser
from tests.support.stack import Stack
from tests.support.terminal.commands import run
from tests.support.waiting import wait_until

SCOPE = "openid offline_access read:builds create:builds update:builds"


def provider(*, lifetime: int = 600, **changes: Any) -> OidcProvider:
    """Gives access tokens for that many seconds, and refresh tokens that rotate."""
    scope = "read:builds create:builds update:builds"
    return OidcProvider(
        signsIn=True,
        clients=[terminal(**changes), spa()],
        resources={API: {"scope": scope, "lifetime": lifetime}},
    )


def api_of(issuer: OidcProvider, folder: Path) -> Stack:
    """An API that trusts this provider, not started yet."""
    folder.mkdir(exist_ok=True)
    return Stack(
        folder,
        BATON_ISSUER=issuer.issuer,
        BATON_JWKS_URL=issuer.keys_url,
        BATON_AUDIENCE=API,
        BATON_MINTER="local",
        BATON_MINT_AUDIENCE="https://builds.example.com/",
        BATON_MINT_KEY_FILE=str(folder / "mint.pem"),
        BATON_LEEWAY="1",
        BATON_CLI_CLIENT_ID="terminal",
    ).without_issuer()


class Home:
    """A user's machine: a configuration of its own, and a browser that signs in by itself."""

    def __init__(self, folder: Path, api_url: str, **variables: str) -> None:
        self.config = folder / "config"
        self.browsed = folder / "browsed"
        self.env = environment(
            BATON_CONFIG_DIR=str(self.config),
            BATON_API_URL=api_url,
            BROWSER=browser(),
            BROWSED=str(self.browsed),
            COLUMNS="200",
        )
        self.env |= variables

    def baton(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        done = run(self.env | variables, *arguments)
        said = done.stdout.decode(), done.stderr.decode()
        return subprocess.CompletedProcess(done.args, done.returncode, *said)

    def start(self, *arguments: str, **variables: str) -> "Started":
        return Started([BATON, *arguments], self.env | variables)

    def login(self) -> None:
        done = self.baton("login", "--scope", SCOPE)
        assert done.returncode == 0, done.stderr

    def file(self) -> Path:
        [path] = self.config.glob("tokens/*.json")
        return path

    def kept(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.file().read_text())
        return found

    def change(self, **changes: Any) -> None:
        self.keep_also(self.file().stem, self.kept() | changes)

    def keep_also(self, name: str, kept: dict[str, Any]) -> None:
        path = self.config / "tokens" / f"{name}.json"
        path.touch(0o600)
        path.write_text(json.dumps(kept))


class Started:
    """A command that goes on, with what it has said so far in a file."""

    def __init__(self, argv: list[str], env: dict[str, str]) -> None:
        self.log = Path(env["BATON_CONFIG_DIR"]).parent / f"started-{os.urandom(4).hex()}"
        with self.log.open("wb") as out:
            self.process = fork_server().start(argv, env, out, fork=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait(20)

    @property
    def said(self) -> str:
        return self.log.read_text()

    def wait_for(self, pattern: str) -> str:
        """The first match, or its first group."""
        found = wait_until(
            f"it says {pattern!r} or ends",
            lambda: re.search(pattern, self.said) or self.process.poll() is not None,
        )
        assert isinstance(found, re.Match), self.said
        return found[found.re.groups and 1]

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def wait(self) -> int:
        return self.process.wait(60)
