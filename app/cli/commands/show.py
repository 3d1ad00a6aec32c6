"""`baton show` prints one build, with its steps."""

import click
from rich.console import Console

from app.cli.client_options import as_json_option, with_client
from app.cli.display.views import details
from app.client import BatonClient


@click.command("show")
@click.argument("build_id", metavar="BUILD")
@as_json_option
@with_client
def show_command(client: BatonClient, build_id: str, as_json: bool) -> None:
    """Show a build: its status, steps and times, and what its token allowed."""
    build = client.show(build_id)
    if as_json:
        click.echo(build.model_dump_json(indent=2))
    else:
        details(build, Console(highlight=False, soft_wrap=True))
