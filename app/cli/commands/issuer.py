"""`baton issuer` runs the embedded issuer in this process."""

import os
from typing import Final

import click

from app.bootstrap.issuer import create_issuer
from app.cli.serving.server import access_log, log_format, log_level, serve, set_up_logging
from app.config.issuer_settings import IssuerSettings
from app.observability.log_format import LogFormat, Style

#: Connections at once; it is for development, and needs few.
_MAX_CONNECTIONS: Final = 200


@click.command("issuer")
@log_level
@log_format
@access_log
def issuer_command(log_level: str, log_format: Style, access_log: bool) -> None:
    """Run the embedded OAuth issuer, which stands in for Auth0 on a laptop.

    It asks for no password. Never let it be reached by others.
    """
    settings = IssuerSettings.from_env(os.environ)
    set_up_logging(log_level, LogFormat(log_format, settings.secrets()))
    serve(
        create_issuer(settings),
        settings.issuer_host,
        settings.issuer_port,
        access_log=access_log,
        max_connections=_MAX_CONNECTIONS,
    )
