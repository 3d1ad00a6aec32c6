"""`baton retry` submits the same build again."""

import click

from app.cli.client_options import (
    as_json_option,
    follow_option,
    idempotency_key_option,
    with_client,
)
from app.cli.display.submitted import submitted
from app.client import BatonClient


@click.command("retry")
@click.argument("build_id", metavar="BUILD")
@idempotency_key_option
@follow_option
@as_json_option
@with_client
def retry_command(
    client: BatonClient,
    build_id: str,
    idempotency_key: str | None,
    following: bool,
    as_json: bool,
) -> int:
    """Submit a new build with the spec of BUILD."""
    if following and as_json:
        raise click.UsageError("--follow writes the log to stdout, --json the build: choose one")
    build = client.retry(build_id, idempotency_key=idempotency_key)
    return submitted(client, build, following=following, as_json=as_json)
