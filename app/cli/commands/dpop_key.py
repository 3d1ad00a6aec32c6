"""`baton dpop-key` makes the key that binds the build tokens of a pool of workers."""

from pathlib import Path

import click

from app.contract.dpop import ProofKey
from app.tokens.errors import KeyFileError
from app.tokens.signing_key import SigningKey


@click.command("dpop-key")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def dpop_key_command(file: Path) -> None:
    """Print the thumbprint of the private key in FILE, which is made if it does not exist.

    With it, whoever steals a build token cannot use it without the key (RFC 9449). Give the file to
    all workers of the pool as BATON_DPOP_KEY_FILE, and the thumbprint to the API as
    BATON_DPOP_WORKER_KEYS.
    """
    try:
        SigningKey.load_or_create(file)
        click.echo(ProofKey.load(file).jkt)
    except (KeyFileError, ValueError) as error:
        raise click.ClickException(str(error)) from error
