"""`baton token` prints a user token of the embedded issuer."""

import click

from app.cli.client_options import api_option
from app.cli.defaults import DEFAULT_AUDIENCE
from app.cli.sign_in.calls import SignInFailed
from app.cli.sign_in.embedded_issuer import DEFAULT_SCOPE, issuer_of, user_token


@click.command("token")
@click.option("--user", required=True, metavar="NAME", help="Who signs in: any name will do.")
@click.option(
    "--scope",
    default=DEFAULT_SCOPE,
    show_default=True,
    help="The scopes to ask for, spaces between.",
)
@click.option(
    "--issuer",
    envvar="BATON_ISSUER",
    show_envvar=True,
    metavar="URL",
    help="The issuer; default: the one that the API trusts.",
)
@click.option(
    "--audience",
    envvar="BATON_AUDIENCE",
    default=DEFAULT_AUDIENCE,
    show_default=True,
    show_envvar=True,
    help="The API that the token is for.",
)
@api_option
def token_command(user: str, scope: str, issuer: str | None, audience: str, api: str) -> None:
    """Sign in at the embedded issuer and print the access token, nothing else.

    Runs the authorization code flow with PKCE, as the SPA does, and fills in the login page. For
    development: the embedded issuer asks for no password.

    \b
    Example:
      export BATON_TOKEN=$(baton token --user ann)
    """
    try:
        found = issuer or issuer_of(api)
        click.echo(user_token(found, user=user, scope=scope, audience=audience))
    except SignInFailed as error:
        raise click.ClickException(str(error)) from error
