"""The `baton` command: starts rooms and calls the API; owns no rules.

Exit codes: 0 all is well (a followed build succeeded), 1 it did not, 2 the command or a setting is
wrong, 130 interrupted.
"""

import os
import sys
from importlib import import_module
from typing import Final

import click

from app.client import ApiError, ClientError
from app.contract.environment import SettingsError

#: Where each command lives. A module is loaded when its command is used, so that `baton list` need
#: not wait for what only `baton api` imports.
_COMMANDS: Final = {
    "submit": "app.cli.builds",
    "list": "app.cli.builds",
    "show": "app.cli.builds",
    "logs": "app.cli.builds",
    "cancel": "app.cli.builds",
    "retry": "app.cli.builds",
    "login": "app.cli.login",
    "logout": "app.cli.login",
    "token": "app.cli.token",
    "demo": "app.cli.demo",
    "dev": "app.cli.dev",
    "api": "app.cli.serve",
    "worker": "app.cli.serve",
    "issuer": "app.cli.serve",
    "doctor": "app.cli.doctor",
    "secrets": "app.cli.secret_files",
    "dpop-key": "app.cli.dpop_key",
}

_INTERRUPTED: Final = 130


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in _COMMANDS:
            return None
        command = getattr(
            import_module(_COMMANDS[cmd_name]), f"{cmd_name.replace('-', '_')}_command"
        )
        return command if isinstance(command, click.Command) else None


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
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
    """The entry point: every error that has a sentence ends as that sentence."""
    try:
        code = baton.main(prog_name="baton", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except SettingsError as error:
        code = _say(str(error), 2)
    except ApiError as error:
        more = [f"  {item.pointer or '/'}: {item.detail}" for item in error.problem.errors or ()]
        code = _say("\n".join([f"{error} ({error.problem.status})", *more]), 1)
    except ClientError as error:
        code = _say(str(error), 1)
    except (click.Abort, KeyboardInterrupt):
        code = _INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone; the interpreter would complain about it at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    sys.exit(code)


def _say(sentence: str, code: int) -> int:
    click.echo(f"baton: {sentence}", err=True)
    return code
