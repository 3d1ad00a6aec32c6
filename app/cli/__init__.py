"""The `baton` command starts the parts of Baton and calls the API; it decides nothing itself.

It exits with 0 when all is well (a followed build succeeded), 1 when not, 2 when the command or a
setting is wrong, and 130 when interrupted.
"""

import gc
import os
import sys
from importlib import import_module
from typing import Any, Final

import click

from app.errors import BatonError

#: The commands in the order of `baton --help`, each with its module and its short help.
COMMANDS: Final = {
    "submit": ("app.cli.commands.submit", "Submit a build."),
    "list": ("app.cli.commands.list", "List your builds, newest first."),
    "show": ("app.cli.commands.show", "Show a build: status, steps, times."),
    "logs": ("app.cli.commands.logs", "Print a build's log, or follow it."),
    "cancel": ("app.cli.commands.cancel", "Cancel a build."),
    "retry": ("app.cli.commands.retry", "Build the same again."),
    "login": ("app.cli.commands.login", "Sign in, with a browser here or elsewhere."),
    "logout": ("app.cli.commands.login", "Forget the tokens of `baton login`."),
    "token": ("app.cli.commands.token", "Sign in at the embedded issuer; prints a user token."),
    "demo": ("app.cli.commands.demo", "A guided tour: one build, from sign-in to result."),
    "dev": ("app.cli.commands.dev", "Run everything on this machine, in one terminal."),
    "api": ("app.cli.commands.api", "Run the API."),
    "worker": ("app.cli.commands.worker", "Run a worker."),
    "issuer": ("app.cli.commands.issuer", "Run the embedded issuer (development)."),
    "doctor": ("app.cli.commands.doctor", "Look for what is wrong with the service."),
    "secrets": ("app.cli.commands.secrets", "Make the secrets that the parts share, in files."),
    "dpop-key": (
        "app.cli.commands.dpop_key",
        "Make a key that workers prove to hold; prints its thumbprint.",
    ),
}

_WRONG: Final = 2
_INTERRUPTED: Final = 130


class _Deferred(click.Command):
    """A `_Deferred` command loads its module when it is called.

    So `baton list` does not wait for what only `baton api` imports. Help and completion of `baton`
    need only what is here.
    """

    def __init__(self, name: str, module: str, short_help: str) -> None:
        super().__init__(name, short_help=short_help)
        self._module = module

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:  # noqa: ANN401  click's own
        """Load the command, and return its own context, with which click goes on."""
        gc.disable()  # what an import makes stays: collecting garbage takes a tenth of its time
        module = import_module(self._module)
        gc.enable()
        command = getattr(module, f"{self.name}_command".replace("-", "_"))
        context: click.Context = command.make_context(*args, **kwargs)
        return context


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of `COMMANDS`, where click sorts them."""
        del ctx
        return list(self.commands)


@click.group(
    cls=_Commands,
    commands=[_Deferred(name, *where) for name, where in COMMANDS.items()],
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="baton", message="baton %(version)s")
def baton() -> None:
    """Submit builds, watch them, and run the service that builds them.

    \b
    On one machine, in two terminals:
      baton dev
      baton login
      baton submit --run 'echo hello' --follow
    """


def main() -> None:
    """Run the command line and exit; every error of ours is shown as its one sentence."""
    if sys.platform != "linux":  # a wheel without compiled code cannot say so to an installer
        click.echo(f"baton: this is {sys.platform}, and Baton runs on Linux", err=True)
        sys.exit(_WRONG)
    try:
        code = baton.main(prog_name="baton", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except BatonError as error:
        click.echo(f"baton: {error.format_message()}", err=True)
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        code = _INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has gone; the interpreter would complain about that at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    sys.exit(code)
