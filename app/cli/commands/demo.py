"""`baton demo` gives a guided tour of one build on the real stack, and checks what it shows."""

import os
import shutil
import signal
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click
import httpx
from rich.console import Console
from rich.table import Table
from rich.text import Text

from app.cli.display.terminal_sanitizer import SanitizedLines
from app.cli.display.views import details
from app.cli.local.demo_repository import EXPECTED, STEPS, make_repository
from app.cli.local.stack import Stack, StackError, StackOptions
from app.cli.local.supervisor import Interrupted, StartFailed, Supervisor
from app.cli.sign_in.calls import SignInFailed
from app.cli.sign_in.embedded_issuer import DEFAULT_SCOPE, user_token
from app.client import BatonClient, ClientError
from app.contract import paths
from app.contract.builds import BuildView
from app.contract.problems import TYPE_PREFIX, Code
from app.contract.scopes import DELEGATED
from app.contract.spec import BuildSpec, Source
from app.contract.status import Status

_USER: Final = "ann"
_NAMESPACE: Final = "https://example.com/"  #: of the custom claims, the settings' default
_CHECKOUT: Final = Path(__file__).parents[3]  #: the repository, if this runs from a checkout
#: Lines of the parts' output that are shown when the tour ends badly.
_LAST_LINES: Final = 40
#: Seconds after which a queued build is given up: a demo does not wait for a day.
_QUEUE_WAIT: Final = 90


class DemoFailed(Exception):
    """A check of the tour failed; the message says which."""


@click.command("demo")
def demo_command() -> None:
    """Start everything in a temporary directory, run one build, show and check what happened.

    Nothing is left behind. Exits with 0 when every check held.
    """
    console = Console(highlight=False, soft_wrap=True)
    output: deque[str] = deque(maxlen=_LAST_LINES)
    supervisor = Supervisor(lambda name, line: output.append(f"{name:6} │ {line}"))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupted)
    try:
        with _temporary() as folder:
            _Tour(console, supervisor, folder).run()
    except Interrupted:
        console.print("\ninterrupted; everything is stopped and removed", style="yellow")
        sys.exit(130)
    except (DemoFailed, StackError, StartFailed, SignInFailed, ClientError) as error:
        console.print(f"\n✗ {error}", style="bold red", markup=False)
        if output and not isinstance(error, StartFailed):  # whose message has the lines
            console.print("What the parts said last:", style="bright_black")
            for line in output:
                console.print(Text(f"  {line}", style="bright_black"))
        sys.exit(1)


def _interrupted(number: int, frame: object) -> None:
    del number, frame
    raise Interrupted


@contextmanager
def _temporary() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="baton-demo-"))
    folder.chmod(0o755)  # builds may run as another user, which has to read the repository
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _Tour:
    def __init__(self, console: Console, supervisor: Supervisor, folder: Path) -> None:
        self._console = console
        self._supervisor = supervisor
        self._folder = folder
        self._stage = 0

    def run(self) -> None:
        begun = time.monotonic()
        self._heading("Start a store, an issuer, the API and a worker")
        options = StackOptions(data=self._folder / "data", port=0, issuer_port=0, workers=1)
        with Stack(options, self._supervisor, _environment(), self._item) as stack:
            self._heading("Make a git repository to build")
            commit = make_repository(self._folder / "repository")
            self._item("commits", f"2, the last one is {commit[:12]}")

            self._heading(f"Sign in as {_USER}, as the SPA does: authorization code with PKCE")
            token = user_token(
                stack.issuer, user=_USER, scope=DEFAULT_SCOPE, audience=stack.audience
            )
            self._item("scope", DEFAULT_SCOPE)

            with BatonClient(stack.api_url, token) as client:
                self._heading("Submit a build; the API answers at once")
                build = self._submit(client)
                self._heading("Read the log while the worker writes it")
                log, early = self._stream(client, build.id)
                build = client.show(build.id)
            self._heading("Look at the result, and at the token that carried it")
            details(build.model_copy(update={"token": None}), self._console)
            self._claims(build)
            checks = _checks(build, log, commit, early=early)
            checks["a user's token cannot report a result"] = _user_is_refused(
                stack.api_url, build.id, token
            )
            self._verdict(checks)
        program = "make" if (_CHECKOUT / "Makefile").exists() else "baton"
        self._console.print(
            f"\nAll of it worked, in {time.monotonic() - begun:.0f} s; everything is stopped and "
            f"removed. `{program} dev` starts the same to stay.",
            style="bold green",
        )

    def _heading(self, title: str) -> None:
        self._stage += 1
        self._console.print(f"\n{self._stage}. {title}", style="bold")

    def _item(self, name: str, text: str) -> None:
        self._console.print(Text(f"   {name:9}", style="bright_black") + Text(text))

    def _submit(self, client: BatonClient) -> BuildView:
        url = (self._folder / "repository").as_uri()
        spec = BuildSpec(source=Source(git=url, ref="main"), steps=STEPS, timeout=120)
        asked = time.monotonic()
        build = client.submit(spec)
        self._item("answer", f"202, {build.status}, after {time.monotonic() - asked:.3f} s")
        self._item("build", build.id)
        return build

    def _stream(self, client: BatonClient, build_id: str) -> tuple[bytes, bool]:
        """Print the log as it comes; return it, and whether a step's line came before the end."""
        log, early = b"", False
        lines = SanitizedLines()
        begun = time.monotonic()
        for piece in client.log(build_id, follow=True):
            log += piece
            at = Text(f"   {time.monotonic() - begun:5.1f} s  ", style="bright_black")
            for line in lines.feed(piece):
                self._console.print(at + Text.from_ansi(line))
            if not early and EXPECTED[0] in log:
                early = client.show(build_id).status is Status.RUNNING
        return log, early

    def _claims(self, build: BuildView) -> None:
        self._console.print("\n   The build token, as the API checked it:", style="bright_black")
        facts = build.token
        if facts is None:
            raise DemoFailed("the build has no token on record")
        lifetime = (facts.expires_at - facts.issued_at).total_seconds()
        table = Table.grid(padding=(0, 2))
        for claim, value in {
            "iss": facts.issuer,
            "aud": facts.audience,
            "azp": facts.client_id,
            "scope": facts.scope,
            f"{_NAMESPACE}user_id": facts.user_id,
            f"{_NAMESPACE}build_id": facts.build_id,
            "exp": f"{facts.expires_at:%Y-%m-%dT%H:%M:%SZ} ({lifetime:.0f} s after iat)",
        }.items():
            table.add_row("  ", Text(claim, style="cyan"), Text(value))
        self._console.print(table)

    def _verdict(self, checks: Mapping[str, bool]) -> None:
        self._console.print()
        for name, held in checks.items():
            sign = Text("✓", style="green") if held else Text("✗", style="red")
            self._console.print(Text("   ") + sign + Text(f" {name}"))
        failed = [name for name, held in checks.items() if not held]
        if failed:
            raise DemoFailed("this did not hold: " + "; ".join(failed))


def _environment() -> dict[str, str]:
    """Return this process' environment without `BATON_*`, which is for another stack, but for the
    sandbox."""
    kept = {"BATON_SANDBOX"}
    env = {k: v for k, v in os.environ.items() if not k.startswith("BATON_") or k in kept}
    return {**env, "BATON_MAX_QUEUE_WAIT": str(_QUEUE_WAIT)}


def _checks(build: BuildView, log: bytes, commit: str, *, early: bool) -> dict[str, bool]:
    token = build.token
    return {
        "the build succeeded": build.status is Status.SUCCEEDED,
        f"it built the last commit, {commit[:12]}": build.commit == commit,
        "the log has every expected line, in order": _in_order(log, EXPECTED),
        "the log was read while the build still ran": early,
        "the log arrived whole": len(log) == build.log.length,
        f"the build token's scope is exactly {' '.join(DELEGATED)}": token is not None
        and token.scope.split() == list(DELEGATED),
        "the build token names this user and this build, and no other": token is not None
        and token.user_id == build.owner
        and token.build_id == build.id,
    }


def _in_order(log: bytes, lines: tuple[bytes, ...]) -> bool:
    position = 0
    for line in lines:
        position = log.find(line, position) + len(line)
        if position < len(line):
            return False
    return True


def _user_is_refused(api_url: str, build_id: str, token: str) -> bool:
    with httpx.Client(timeout=10, trust_env=False) as http:
        answer = http.put(
            api_url + paths.of(paths.BUILD, build_id),
            json={"status": Status.RUNNING},
            headers={"Authorization": f"Bearer {token}"},
        )
    return (
        answer.status_code == httpx.codes.FORBIDDEN
        and answer.json().get("type") == TYPE_PREFIX + Code.WRONG_TOKEN_KIND
    )
