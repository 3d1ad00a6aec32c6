"""`baton api`, `baton issuer`, `baton worker`: one part of the service, in this process."""

import logging
import os
import resource
import socket
import sys
from collections.abc import Sequence
from typing import Final

import click
import uvicorn
from starlette.applications import Starlette

from app.cli.http_protocol import bounded
from app.cli.privacy import forbid_inspection
from app.contract.environment import FromEnvironment
from app.contract.log_format import Style, log_to_stderr
from app.contract.tracing import Tracing
from app.issuer_settings import IssuerSettings
from app.main import create_app, create_issuer
from app.settings import Settings, SettingsError

log = logging.getLogger(__name__)

#: Seconds that open answers (followed logs) get when the server is told to stop; their readers come
#: back to where they were.
_GRACE: Final = 3

#: Files that an API process opens besides its clients' connections: to store, broker and issuer,
#: modules, and the connections that are told that there are too many.
_OTHER_FILES: Final = 300

#: Connections of a development issuer.
_CONNECTIONS: Final = 200

log_level = click.option(
    "--log-level",
    envvar="BATON_LOG_LEVEL",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    show_envvar=True,
)
log_format = click.option(
    "--log-format",
    envvar="BATON_LOG_FORMAT",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    show_envvar=True,
)
access_log = click.option("--access-log", is_flag=True, help="One line for each request.")


@click.command("api", short_help="Run the API.")
@log_level
@log_format
@access_log
def api_command(log_level: str, log_format: Style, access_log: bool) -> None:
    """Run the API, with dispatch and watch, until it is told to stop.

    Its settings are BATON_* variables; a wrong or missing one stops the start.
    """
    settings = Settings.from_env(os.environ)
    traces = Tracing.from_env("baton-api", os.environ)
    _allow_open_files(settings.max_connections)
    _log(settings, log_level, log_format)
    _serve(
        create_app(settings, traces),
        settings.host,
        settings.port,
        access_log=access_log,
        max_connections=settings.max_connections,
        trusted_proxies=settings.trusted_proxies,
    )


@click.command("issuer", short_help="Run the embedded issuer (development).")
@log_level
@log_format
@access_log
def issuer_command(log_level: str, log_format: Style, access_log: bool) -> None:
    """Run the embedded OAuth issuer, which stands in for Auth0 on a laptop.

    It asks for no password. Never let it be reached by others.
    """
    settings = IssuerSettings.from_env(os.environ)
    _log(settings, log_level, log_format)
    app = create_issuer(settings)
    _serve(app, settings.issuer_host, settings.issuer_port, access_log=access_log)


@click.command("worker", short_help="Run a worker.")
def worker_command() -> None:
    """Run a worker until it is told to stop: the same as `python -m worker`.

    Its settings are BATON_* variables; a wrong or missing one stops the start.
    """
    # -P: the directory we are in may have a `worker` of its own.
    os.execv(sys.executable, [sys.executable, "-P", "-m", "worker"])  # noqa: S606  no shell


def _allow_open_files(max_connections: int) -> None:
    """Let this process open as many as its connections need, if it may. Raises `SettingsError`."""
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


def _log(settings: FromEnvironment, level: str, style: Style) -> None:
    log_to_stderr(level, style, settings.secrets())
    for chatty in ("httpx", "uvicorn.error"):  # each request made, each stage of the start
        logging.getLogger(chatty).setLevel(logging.WARNING)


def _serve(
    app: Starlette,
    host: str,
    port: int,
    *,
    access_log: bool,
    max_connections: int = _CONNECTIONS,
    trusted_proxies: Sequence[str] = (),
) -> None:
    forbid_inspection()
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_config=None,
        access_log=access_log,
        server_header=False,
        http=bounded(max_connections),
        # Else uvicorn takes the word of anyone on this machine for where a request comes from.
        proxy_headers=bool(trusted_proxies),
        forwarded_allow_ips=list(trusted_proxies),
        timeout_graceful_shutdown=_GRACE,
        ws="none",
    )
    _Server(config, app).run()


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, app: Starlette) -> None:
        super().__init__(config)
        self._app = app

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            log.info("listening on http://%s:%d", self.config.host, self.config.port)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # An application is told only after its last answer, and a followed log has no end.
        getattr(self._app.state, "end_streams", lambda: None)()
        await super().shutdown(sockets)
