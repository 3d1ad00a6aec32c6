"""`user_token` signs in at the embedded issuer as an application, and fills in its login page.

It runs the authorization code flow (RFC 6749 §4.1) with PKCE (RFC 7636), and works only where the
login page asks for a user name alone; with a real provider, people sign in with a browser.
"""

from html.parser import HTMLParser
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx

from app.cli.defaults import SPA_CLIENT_ID
from app.cli.sign_in import calls
from app.cli.sign_in.calls import SignInFailed
from app.cli.sign_in.code import CodeRequest, new_state
from app.cli.sign_in.provider import Provider, Resource
from app.contract.scopes import CREATE_BUILDS, READ_BUILDS, UPDATE_BUILDS

DEFAULT_SCOPE: Final = f"{READ_BUILDS} {CREATE_BUILDS} {UPDATE_BUILDS}"

#: No server listens there: the code is read off the redirect, which is not followed.
_REDIRECT_URI: Final = "http://127.0.0.1/callback"


def issuer_of(api_url: str) -> str:
    """Ask an API for the issuer that it trusts. Raises `SignInFailed`."""
    with calls.client() as http:
        return Resource.ask(http, api_url).issuer


def user_token(issuer: str, *, user: str, scope: str, audience: str) -> str:
    """Sign in as `user`; return the access token.

    Raises `SignInFailed`, also when a part of `scope` is not granted.
    """
    with calls.client() as http:
        request = CodeRequest(
            Provider.discover(http, issuer),
            client_id=SPA_CLIENT_ID,
            redirect_uri=_REDIRECT_URI,
            scope=scope,
            audience=audience,
            state=new_state(),
        )
        redirect = calls.ask(http, "GET", request.url)
        if redirect.status_code != HTTPStatus.FOUND:
            redirect = _fill_in(http, redirect, user)
        grant = request.redeem(http, request.code_in(_answer(redirect)))
    refused = grant.lacks(scope)
    if refused:
        raise SignInFailed(f"{issuer} does not grant {' '.join(refused)}")
    return grant.access_token


class _Form(HTMLParser):
    """A `_Form` reads the first form of a page: its action and its fields."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.action: str | None = None
        self.fields: dict[str, str] = {}
        self.wants_password = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "form" and self.action is None:
            self.action = values.get("action") or ""
        elif tag == "input" and values.get("name"):
            self.fields[str(values["name"])] = values.get("value") or ""
            self.wants_password |= values.get("type") == "password"


def _fill_in(http: httpx.Client, page: httpx.Response, user: str) -> httpx.Response:
    """Send the login page's form with the user's name; return the redirect.

    Raises `SignInFailed`.
    """
    form = _Form(page.text) if page.is_success else None
    if form is None or form.action is None or form.wants_password or "username" not in form.fields:
        raise SignInFailed(
            f"{page.url.host} shows no page that asks for a user name only: this command is for "
            "the embedded issuer; with another, sign in with a browser"
        )
    where = urljoin(str(page.url), form.action)
    if urlsplit(where).netloc != page.url.netloc.decode():
        raise SignInFailed(f"the login page of {page.url.host} sends its form elsewhere")
    redirect = calls.ask(http, "POST", where, data={**form.fields, "username": user})
    if redirect.status_code != HTTPStatus.FOUND:
        raise SignInFailed(f"{page.url.host} does not take {user!r} for a user's name")
    return redirect


def _answer(redirect: httpx.Response) -> dict[str, str]:
    query = parse_qs(urlsplit(redirect.headers.get("location", "")).query)
    return {name: values[0] for name, values in query.items()}
