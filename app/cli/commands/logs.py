"""`baton logs` prints a build's log, or follows it."""

import click

from app.cli.client_options import follow_option, with_client
from app.cli.display.follow import follow, show_log
from app.client import BatonClient


@click.command("logs")
@click.argument("build_id", metavar="BUILD")
@follow_option
@click.option(
    "--offset", type=click.IntRange(min=0), default=0, metavar="BYTE", help="Begin at this byte."
)
@with_client
def logs_command(client: BatonClient, build_id: str, following: bool, offset: int) -> int:
    """Print the log of BUILD.

    With --follow, streams it until the build ends and exits with 0 when it succeeded, 1 when it
    did not. In a pipe the log is passed on byte by byte; on a terminal, colours are kept and
    other control sequences are taken out.
    """
    if following:
        return follow(client, client.show(build_id), start=offset)
    show_log(client, build_id, start=offset)
    return 0
