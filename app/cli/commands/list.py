"""`baton list` prints the newest builds."""

from typing import Final

import click
from rich.console import Console

from app.cli.client_options import as_json_option, with_client
from app.cli.display.listing import listing
from app.client import BatonClient
from app.contract.builds import BuildPage, BuildView
from app.contract.status import Status

#: Builds asked for at a time, the most that the API gives.
_PAGE_SIZE: Final = 100


@click.command("list")
@click.option("--status", type=click.Choice([status.value for status in Status]))
@click.option(
    "--label",
    "labels",
    multiple=True,
    metavar="NAME[:VALUE]",
    help="Only builds with this label; repeatable, and then with all of them.",
)
@click.option(
    "--limit", "-n", type=click.IntRange(min=1), default=20, show_default=True, metavar="N"
)
@as_json_option
@with_client
def list_command(
    client: BatonClient, status: str | None, labels: tuple[str, ...], limit: int, as_json: bool
) -> None:
    """List your builds, newest first.

    In a pipe: one line per build with id, status, time of creation, seconds taken and what was
    built, tabs between.
    """
    builds: list[BuildView] = []
    cursor: str | None = None
    while len(builds) < limit:
        page = client.list(
            status=Status(status) if status else None,
            labels=labels,
            limit=min(_PAGE_SIZE, limit - len(builds)),
            cursor=cursor,
        )
        builds += page.builds
        cursor = page.next
        if cursor is None:
            break
    if as_json:
        click.echo(BuildPage(builds=builds, next=cursor).model_dump_json(indent=2))
    else:
        listing(builds, Console(highlight=False))
