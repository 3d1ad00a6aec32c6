"""How `baton api` and `baton issuer` log and listen, until they are told to stop."""

import gc
import logging
import socket
from collections.abc import Sequence
from typing import Final

import click
import uvicorn
from starlette.applications import Starlette

from app.cli.serving.http_protocol import bounded
from app.observability.log_format import LogFormat, log_to_stderr
from app.process_hardening import hide_this_process

log = logging.getLogger(__name__)

#: Seconds that open answers (followed logs) get when the server is told to stop; their readers come
#: back to where they were.
_SHUTDOWN_TIMEOUT: Final = 3

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


def set_up_logging(level: str, shown: LogFormat) -> None:
    log_to_stderr(level, shown)
    # Each request made, each stage of the start, each message of the store's to its followers.
    for chatty in ("httpx", "uvicorn.error", "push_response"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def serve(
    app: Starlette,
    host: str,
    port: int,
    *,
    access_log: bool,
    max_connections: int,
    trusted_proxies: Sequence[str] = (),
) -> None:
    hide_this_process()
    gc.freeze()  # what is there by now stays, and need not be searched for garbage
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
        timeout_graceful_shutdown=_SHUTDOWN_TIMEOUT,
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
