"""`baton cancel` cancels builds."""

import click

from app.cli.client_options import with_client
from app.cli.display.follow import notice
from app.cli.display.views import outcome
from app.client import BatonClient


@click.command("cancel")
@click.argument("build_ids", metavar="BUILD...", nargs=-1, required=True)
@with_client
def cancel_command(client: BatonClient, build_ids: tuple[str, ...]) -> None:
    """Cancel builds: a queued one at once, a running one as soon as its worker has stopped it."""
    for build_id in build_ids:
        build = client.cancel(build_id)
        notice(outcome(build) if build.status.final else f"{build.id} is being cancelled")
