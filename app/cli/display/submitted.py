"""`submitted` reports a build that was just submitted."""

import sys

import click

from app.cli.display.follow import follow, notice
from app.client import BatonClient
from app.contract.builds import BuildView


def submitted(client: BatonClient, build: BuildView, *, following: bool, as_json: bool) -> int:
    """Print the build's id or its JSON, or follow it to its end; return the exit code."""
    if following:
        return follow(client, build)
    if as_json:
        click.echo(build.model_dump_json(indent=2))
        return 0
    click.echo(build.id)
    if sys.stdout.isatty():
        notice(f"{build.status}; follow it with: baton logs --follow {build.id}")
    return 0
