"""`baton dev` runs all parts of Baton on one machine, in one terminal."""

import os
import shutil
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import click

from app.cli.defaults import DEFAULT_API
from app.cli.local.stack import Stack, StackError, StackOptions
from app.cli.local.supervisor import Interrupted, StartFailed, Supervisor
from app.process_hardening import hide_this_process

_COLOURS: Final[Mapping[str, str]] = {
    "store": "magenta",
    "issuer": "yellow",
    "api": "cyan",
    "worker": "green",
}
_PORT: Final = click.IntRange(0, 65535)
_WIDTH: Final = max(map(len, _COLOURS))


class _Terminal:
    """A `_Terminal` prints the parts' lines, each after its part's name; safe in any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._starting = True

    def show(self, name: str, line: str) -> None:
        # What Redis prints at its start is advice for servers; `StartFailed` has it if it fails.
        if name == "store" and self._starting:
            return
        self._line(name, line)

    def _line(self, name: str, line: str) -> None:
        with self._lock:
            click.echo(click.style(f"{name:{_WIDTH}} │ ", fg=_COLOURS.get(name)) + line)

    def progress(self, name: str, sentence: str) -> None:
        self._line(name, f"ready: {sentence}")

    def ready(self, stack: Stack) -> None:
        self._starting = False
        baton = _program()
        lines = [
            f"  {baton} login",
            f"  {baton} submit --run 'echo hello' --follow",
        ]
        if stack.api_url != DEFAULT_API:
            lines.insert(0, f"  export BATON_API_URL={stack.api_url}")
        where = f"dashboard and API {stack.api_url}   issuer {stack.issuer}"
        with self._lock:
            click.secho(f"\nBaton is ready:  {where}   (Ctrl-C ends all of it)", bold=True)
            click.echo("\n".join([*lines, ""]))


def _program() -> str:
    """Return how this program is called here: by its name, where that is on the PATH."""
    return "baton" if shutil.which("baton") else os.path.relpath(sys.argv[0])


@click.command("dev")
@click.option(
    "--port", type=_PORT, default=8080, show_default=True, help="The API's; 0 for any free one."
)
@click.option("--issuer-port", type=_PORT, help="The issuer's; default: the one after the API's.")
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".baton"),
    show_default=True,
    help="Where builds, logs and the issuer's keys are kept.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=2,
    show_default=True,
    help="Builds that run at the same time.",
)
def dev_command(port: int, issuer_port: int | None, data: Path, workers: int) -> None:
    """Run store, issuer, API and worker together; Ctrl-C ends all of them.

    Needs no settings. BATON_* variables are passed on to the parts, except those that connect them
    to each other; with BATON_REDIS_URL set, that Redis is the store. Builds and logs are kept in
    --data, so a directory that is used again has them; remove it to begin anew.
    """
    hide_this_process()
    terminal = _Terminal()
    supervisor = Supervisor(terminal.show)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, supervisor.interrupt)
    if issuer_port is None:
        issuer_port = port + 1 if port else 0
    options = StackOptions(data=data, port=port, issuer_port=issuer_port, workers=workers)
    try:
        with Stack(options, supervisor, os.environ, terminal.progress) as stack:
            terminal.ready(stack)
            try:
                supervisor.watch()
            finally:
                click.echo("baton: stopping; Ctrl-C again does it at once", err=True)
    except Interrupted:
        click.echo("baton: everything is stopped", err=True)
    except (StackError, StartFailed) as error:
        click.echo(f"baton: {error}", err=True)
        sys.exit(1)
