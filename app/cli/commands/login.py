"""`baton login` signs in, so that the other commands need no token; `baton logout` signs out."""

import os
import sys
import threading
import webbrowser
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import click
import httpx

from app.cli.client_options import api_option
from app.cli.display.terminal_sanitizer import sanitized
from app.cli.sign_in import calls
from app.cli.sign_in.calls import SignInFailed
from app.cli.sign_in.code import CodeRequest, new_state
from app.cli.sign_in.device import DeviceRequest
from app.cli.sign_in.grant import Grant, revoke
from app.cli.sign_in.loopback import Loopback
from app.cli.sign_in.provider import Provider, Resource
from app.cli.sign_in.saved_sign_ins import SavedSignIn, SavedSignIns, named
from app.cli.sign_in.token_source import saved_sign_in
from app.contract.scopes import CREATE_BUILDS, READ_BUILDS, UPDATE_BUILDS

DEFAULT_SCOPE: Final = (
    f"openid profile email offline_access {READ_BUILDS} {CREATE_BUILDS} {UPDATE_BUILDS}"
)
#: Seconds in which the user has to sign in with the browser.
_SIGN_IN_TIMEOUT: Final = 600


@click.command("login")
@api_option
@click.option(
    "--device", is_flag=True, help="Sign in with a browser elsewhere, by a code to enter there."
)
@click.option("--issuer", metavar="URL", help="Who signs you in; default: whom the API trusts.")
@click.option("--client-id", metavar="ID", help="Default: the one that the API names.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    metavar="N",
    help="Of 127.0.0.1, where the browser comes back to, for issuers that want to know it "
    "beforehand; default: any free one.",
)
@click.option("--scope", default=DEFAULT_SCOPE, show_default=True, help="What to ask for.")
@click.option("--no-browser", is_flag=True, help="Print the URL and open nothing.")
def login_command(
    api: str,
    device: bool,
    issuer: str | None,
    client_id: str | None,
    port: int,
    scope: str,
    no_browser: bool,
) -> None:
    """Sign in for the API at --api; its commands then need no BATON_TOKEN.

    Opens a browser on this machine. Where there is none (ssh), or with --device, it shows a code
    to enter with a browser anywhere. The tokens are saved in $BATON_CONFIG_DIR (default:
    ~/.config/baton), for this API only, and renewed as long as the issuer allows it.
    """
    if device and (port or no_browser):
        raise click.UsageError("--device opens no browser and listens on no port")
    try:
        with calls.client() as http:
            sign_in = _prepare(http, named(api), issuer=issuer, client_id=client_id, scope=scope)
            remote = not no_browser and not port and not _has_browser(os.environ)
            if device or (remote and sign_in.provider.device_authorization_endpoint is not None):
                grant = sign_in.by_device()
            else:
                grant = sign_in.by_browser(port, opens=not no_browser)
        _save(grant, named(api), sign_in)
    except SignInFailed as error:
        raise click.ClickException(str(error)) from error


@click.command("logout")
@api_option
@click.option("--all", "everywhere", is_flag=True, help="Of every API, not only of --api.")
def logout_command(api: str, everywhere: bool) -> None:
    """Forget the tokens that `baton login` has saved, and revoke them where the issuer can."""
    tokens = SavedSignIns.of_user(os.environ)
    one = None if everywhere else tokens.read(api)
    found = tokens.all() if everywhere else [one] if one else []
    if not found:
        _say("not signed in")
    failed = False
    for saved in found:
        with tokens.locked(saved.api):  # waits for a command that is renewing them
            newest = tokens.read(saved.api) or saved
            tokens.forget(saved.api)
        try:
            revoked = _revoke(newest)
        except SignInFailed as error:
            failed = True
            _say(f"signed out of {saved.api}, but its tokens are not revoked: {error}")
        else:
            _say(f"signed out of {saved.api}{' and revoked its tokens' if revoked else ''}")
    if failed:
        sys.exit(1)


@dataclass(frozen=True, kw_only=True, slots=True)
class _SignIn:
    """A `_SignIn` is what the user signs in for, and the two ways to. Both raise `SignInFailed`."""

    http: httpx.Client
    provider: Provider
    client_id: str
    scope: str
    audience: str | None

    def by_device(self) -> Grant:
        request = DeviceRequest.begin(
            self.http,
            self.provider,
            client_id=self.client_id,
            scope=self.scope,
            audience=self.audience,
        )
        _say("\nOpen this page with any browser, and enter the code:\n")
        _say(f"  {sanitized(request.verification_uri)}")
        _say(f"  {sanitized(request.user_code)}\n")
        if request.verification_uri_complete:
            _say(
                f"or this one, which has it:\n\n  {sanitized(request.verification_uri_complete)}\n"
            )
        _say(f"Waiting for {request.expires_in / 60:.0f} minutes; Ctrl-C to give up.")
        return request.wait(self.http)

    def by_browser(self, port: int, *, opens: bool) -> Grant:
        state = new_state()
        with Loopback(port, state=state) as loopback:
            request = CodeRequest(
                self.provider,
                client_id=self.client_id,
                redirect_uri=loopback.redirect_uri,
                scope=self.scope,
                audience=self.audience,
                state=state,
            )
            _say("\nOpen this page with a browser on this machine, unless it has opened:\n")
            _say(f"  {sanitized(request.url)}\n")
            if opens:
                # Some browsers return only when they are closed.
                threading.Thread(target=_open, args=(request.url,), daemon=True).start()
            answer = loopback.wait(_SIGN_IN_TIMEOUT)
            try:
                grant = request.redeem(self.http, request.code_in(answer))
            except SignInFailed as error:
                loopback.show_outcome("Not signed in", f"{error}.")
                raise
            loopback.show_outcome(
                "You are signed in", "You may close this page and go back to the terminal."
            )
            return grant


def _prepare(
    http: httpx.Client, api: str, *, issuer: str | None, client_id: str | None, scope: str
) -> _SignIn:
    """Ask the API for what the user's options leave open. Raises `SignInFailed`."""
    calls.checked(api, "the API")
    resource = Resource.ask(http, api)
    if named(resource.url) != api:  # RFC 9728 §3.3
        raise SignInFailed(f"{api} calls itself {sanitized(resource.url)}: use that as --api")
    client = client_id or resource.client_id
    if client is None:
        raise SignInFailed(
            f"the API at {api} names no client for terminals (BATON_CLI_CLIENT_ID there); "
            "name one with --client-id"
        )
    provider = Provider.discover(http, issuer or resource.issuer)
    _say(f"Signing in to {api} at {provider.issuer}")
    return _SignIn(
        http=http, provider=provider, client_id=client, scope=scope, audience=resource.audience
    )


def _save(grant: Grant, api: str, sign_in: _SignIn) -> None:
    """Save the tokens, and say what the user did not get."""
    tokens = SavedSignIns.of_user(os.environ)
    saved = saved_sign_in(
        grant,
        api=api,
        issuer=sign_in.provider.issuer,
        token_endpoint=sign_in.provider.token_endpoint,
        client_id=sign_in.client_id,
    )
    with tokens.locked(api):
        tokens.write(saved)
    _say(f"Signed in to {api}.")
    lacks = grant.lacks(sign_in.scope)
    if lacks:
        _say(f"Not granted: {sanitized(' '.join(lacks))}")
    if grant.refresh_token is None:
        length = f" in {grant.expires_in / 60:.0f} minutes" if grant.expires_in else ""
        _say(f"The issuer gave no refresh token: the sign-in ends{length}.")
    if os.environ.get("BATON_TOKEN"):
        _say("BATON_TOKEN is set and comes first: unset it to use this sign-in.")


def _revoke(saved: SavedSignIn) -> bool:
    """Revoke the refresh token; return False when there is none, or the issuer cannot."""
    if saved.refresh_token is None:
        return False
    with calls.client() as http:
        endpoint = Provider.discover(http, saved.issuer).revocation_endpoint
        if endpoint is None:
            return False
        revoke(http, endpoint, client_id=saved.client_id, refresh_token=saved.refresh_token)
    return True


def _has_browser(environ: Mapping[str, str]) -> bool:
    """Whether a browser would open where the user sees it, and not in the terminal itself."""
    if environ.get("BROWSER"):
        return True
    if environ.get("SSH_CONNECTION") and not environ.get("DISPLAY"):
        return False
    if sys.platform.startswith("linux") and not (
        environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY")
    ):
        return False
    try:
        webbrowser.get()
    except webbrowser.Error:
        return False
    return True


def _open(url: str) -> None:
    try:
        webbrowser.open(url)
    except (webbrowser.Error, OSError) as error:
        _say(f"no browser opened: {error}")


def _say(sentence: str) -> None:
    click.echo(sentence, err=True)
