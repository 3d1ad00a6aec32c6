"""The options that every client command shares."""

import functools
from collections.abc import Callable
from typing import Final, TypeVar

import click

from app.client import BatonClient

R = TypeVar("R")

DEFAULT_API: Final = "http://127.0.0.1:8080"

_UNSIGNED: Final = (
    "no token: set BATON_TOKEN. With `baton dev` running, this gets one:\n"
    "  export BATON_TOKEN=$(baton token --user ann)"
)

api_option = click.option(
    "--api",
    envvar="BATON_API_URL",
    default=DEFAULT_API,
    show_default=True,
    show_envvar=True,
    metavar="URL",
    help="The API.",
)


def with_client(command: Callable[..., R]) -> Callable[..., R]:
    """Add `--api` and `--token`, and hand the command a client that uses them."""

    @api_option
    @click.option(
        "--token",
        envvar="BATON_TOKEN",
        show_envvar=True,
        metavar="TOKEN",
        help="The user's access token; others can see an option, so the variable is better.",
    )
    @functools.wraps(command)
    def connected(*args: object, api: str, token: str | None, **kwargs: object) -> R:
        if not token:
            raise click.UsageError(_UNSIGNED)
        with BatonClient(api, token.strip()) as client:
            return command(client, *args, **kwargs)

    return connected
