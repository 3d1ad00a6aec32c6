"""`with_client` gives a command the options that all client commands share, and a client."""

import functools
import os
from collections.abc import Callable
from typing import TypeVar

import click

from app.cli.defaults import DEFAULT_API
from app.cli.sign_in.grant import is_token
from app.cli.sign_in.saved_sign_ins import SavedSignIns
from app.cli.sign_in.token_source import SavedTokenSource, sign_in
from app.client import BatonClient, StaticToken, TokenSource

R = TypeVar("R")


class NotSignedIn(click.ClickException):
    """The command has no token to call with; a usage error, like a missing argument."""

    exit_code = 2


api_option = click.option(
    "--api",
    envvar="BATON_API_URL",
    default=DEFAULT_API,
    show_default=True,
    show_envvar=True,
    metavar="URL",
    help="The API.",
)

as_json_option = click.option(
    "--json", "as_json", is_flag=True, help="JSON on stdout, for programs."
)
follow_option = click.option(
    "--follow", "-f", "following", is_flag=True, help="Stream the log and wait for the end."
)
idempotency_key_option = click.option(
    "--idempotency-key",
    metavar="KEY",
    help="The same key and the same spec give the same build, however often they are sent.",
)


def with_client(command: Callable[..., R]) -> Callable[..., R]:
    """Add `--api` and `--token`, and pass the command a client that uses them.

    The command raises `NotSignedIn` without a token, and `click.UsageError` for one that cannot be
    sent. The client is closed when the command returns.
    """

    @api_option
    @click.option(
        "--token",
        envvar="BATON_TOKEN",
        show_envvar=True,
        metavar="TOKEN",
        help="An access token, in place of the sign-in of `baton login`; others can see an "
        "option, so the variable is better.",
    )
    @functools.wraps(command)
    def connected(*args: object, api: str, token: str | None, **kwargs: object) -> R:
        with BatonClient(api, _source(api, (token or "").strip())) as client:
            return command(client, *args, **kwargs)

    return connected


def _source(api: str, token: str) -> TokenSource:
    if token:
        if not is_token(token):
            raise click.UsageError("BATON_TOKEN (--token) does not look like an access token")
        return StaticToken(token)
    tokens = SavedSignIns.of_user(os.environ)
    saved = tokens.read(api)
    if saved is None:
        raise NotSignedIn(
            f"not signed in to {api}: {sign_in(api)}\nor set BATON_TOKEN to an access token"
        )
    return SavedTokenSource(tokens, saved)
