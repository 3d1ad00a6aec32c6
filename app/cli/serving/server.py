"""`serve` runs `baton api` and `baton issuer`, and `set_up_logging` sets up their log."""

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

#: Seconds that open responses (followed logs) get at a shutdown; their readers reconnect then.
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


def set_up_logging(level: str, log_format: LogFormat) -> None:
    """Log to stderr in this format; call before `serve`."""
    log_to_stderr(level, log_format)
    # They log each request made, each stage of the start, each message that the store publishes.
    for name in ("httpx", "uvicorn.error", "push_response"):
        logging.getLogger(name).setLevel(logging.WARNING)


def serve(
    app: Starlette,
    host: str,
    port: int,
    *,
    access_log: bool,
    max_connections: int,
    trusted_proxies: Sequence[str] = (),
) -> None:
    """Serve `app` until SIGTERM or SIGINT, from the main thread.

    Beyond `max_connections`, a connection gets a 503. The client's address is taken from
    `X-Forwarded-For` only behind `trusted_proxies`.
    """
    hide_this_process()
    gc.freeze()  # what is loaded by now stays, and need not be searched for garbage
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_config=None,
        access_log=access_log,
        server_header=False,
        http=bounded(max_connections),
        # By default, uvicorn believes any client on this machine about a request's origin.
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
        # uvicorn shuts the application down after its last response, and a followed log has no end.
        getattr(self._app.state, "end_streams", lambda: None)()
        await super().shutdown(sockets)
