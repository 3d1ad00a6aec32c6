"""`baton api` runs the API, with dispatch and reaper, in this process."""

import os
import resource
from typing import Final

import click

from app.bootstrap.api import create_app
from app.cli.serving.server import access_log, log_format, log_level, serve, set_up_logging
from app.config.settings import Settings
from app.errors import SettingsError
from app.observability import tracing
from app.observability.log_format import LogFormat, Style
from app.observability.tracing import Tracing

#: Files that an API process opens besides its clients' connections: to store, broker and issuer,
#: modules, and the connections beyond the limit, which get a 503.
_OTHER_FILES: Final = 300


@click.command("api")
@log_level
@log_format
@access_log
def api_command(log_level: str, log_format: Style, access_log: bool) -> None:
    """Run the API, with dispatch and reaper, until it is told to stop.

    Its settings are BATON_* variables; a wrong or missing one stops the start.
    """
    settings = Settings.from_env(os.environ)
    traces = Tracing.from_env("baton-api", os.environ)
    _allow_open_files(settings.max_connections)
    set_up_logging(log_level, LogFormat(log_format, settings.secrets(), tracing.ids))
    serve(
        create_app(settings, traces),
        settings.host,
        settings.port,
        access_log=access_log,
        max_connections=settings.max_connections,
        trusted_proxies=settings.trusted_proxies,
    )


def _allow_open_files(max_connections: int) -> None:
    """Raise this process' limit of open files to what its connections need.

    Raises `SettingsError` when its hard limit is too low.
    """
    needed = max_connections + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise SettingsError(
            f"BATON_MAX_CONNECTIONS={max_connections} needs {needed} open files, and this process "
            f"may have {hard}: raise its limit (ulimit -n), or lower the setting"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
