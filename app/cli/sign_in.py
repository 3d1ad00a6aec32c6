"""Signing in at the embedded issuer as an application would, with the login page filled in.

The authorization code flow (RFC 6749 §4.1) with PKCE (RFC 7636). It works only where a user name is
all that the login page asks for; with a real provider, people sign in with a browser.
"""

import base64
import hashlib
import secrets
from html.parser import HTMLParser
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx

from app.contract import paths
from app.contract.scopes import CREATE_BUILDS, READ_BUILDS, UPDATE_BUILDS

CLIENT_ID: Final = "baton-spa"
DEFAULT_AUDIENCE: Final = "https://api.baton.example/"
DEFAULT_SCOPE: Final = f"{READ_BUILDS} {CREATE_BUILDS} {UPDATE_BUILDS}"

#: Nothing listens there: the code is read off the redirect, which is not followed.
_REDIRECT_URI: Final = "http://127.0.0.1/callback"


class SignInFailed(Exception):
    """There is no token; the message says what the issuer did."""


def issuer_of(api_url: str) -> str:
    """The issuer that an API trusts, by its metadata (RFC 9728). Raises `SignInFailed`."""
    with httpx.Client(timeout=10, trust_env=False) as http:
        metadata = _json(http, "GET", api_url.rstrip("/") + paths.PROTECTED_RESOURCE)
    servers = metadata.get("authorization_servers") or [None]
    if not isinstance(servers[0], str):
        raise SignInFailed(f"the API at {api_url} names no issuer")
    return servers[0]


def user_token(issuer: str, *, user: str, scope: str, audience: str) -> str:
    """An access token for `user`. Raises `SignInFailed`."""
    verifier = secrets.token_urlsafe(48)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest())
    state = secrets.token_urlsafe(16)
    with httpx.Client(timeout=10, trust_env=False) as http:
        found = _json(http, "GET", issuer.rstrip("/") + "/.well-known/openid-configuration")
        if found.get("issuer") != issuer:
            raise SignInFailed(f"{issuer} calls itself {found.get('issuer')}")
        request = {
            "response_type": "code",
            "client_id": CLIENT_ID,
            "redirect_uri": _REDIRECT_URI,
            "scope": scope,
            "audience": audience,
            "state": state,
            "code_challenge": challenge.rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        page = _ask(http, "GET", str(found.get("authorization_endpoint")), params=request)
        if page.status_code == HTTPStatus.FOUND:
            raise SignInFailed(_refusal(_answer(page)))
        redirect = _fill_in(http, page, user)
        answer = _answer(redirect)
        if answer.get("state") != state or answer.get("iss", issuer) != issuer:
            raise SignInFailed(f"{issuer} answered another request than ours")
        if "code" not in answer:
            raise SignInFailed(_refusal(answer))
        exchange = {
            "grant_type": "authorization_code",
            "client_id": CLIENT_ID,
            "code": answer["code"],
            "redirect_uri": _REDIRECT_URI,
            "code_verifier": verifier,
        }
        tokens = _json(http, "POST", str(found.get("token_endpoint")), data=exchange)
    token = tokens.get("access_token")
    if not isinstance(token, str):
        raise SignInFailed(f"{issuer} gave no access token")
    granted = str(tokens.get("scope", scope)).split()
    refused = sorted(set(scope.split()) - set(granted))
    if refused:
        raise SignInFailed(f"{issuer} does not grant {' '.join(refused)}")
    return token


class _Form(HTMLParser):
    """The first form of a page: where it goes, and what it holds."""

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
    """Send the login page's form with the user's name; returns the redirect."""
    form = _Form(page.text) if page.is_success else None
    if form is None or form.action is None or form.wants_password or "username" not in form.fields:
        raise SignInFailed(
            f"{page.url.host} shows no page that asks for a user name only: this command is for "
            "the embedded issuer; with another, sign in with a browser"
        )
    where = urljoin(str(page.url), form.action)
    if urlsplit(where).netloc != page.url.netloc.decode():
        raise SignInFailed(f"the login page of {page.url.host} sends its form elsewhere")
    redirect = _ask(http, "POST", where, data={**form.fields, "username": user})
    if redirect.status_code != HTTPStatus.FOUND:
        raise SignInFailed(f"{page.url.host} does not take {user!r} for a user's name")
    return redirect


def _answer(redirect: httpx.Response) -> dict[str, str]:
    query = parse_qs(urlsplit(redirect.headers.get("location", "")).query)
    return {name: values[0] for name, values in query.items()}


def _refusal(answer: dict[str, str]) -> str:
    return f"the issuer refused: {answer.get('error_description') or answer.get('error')}"


def _ask(
    http: httpx.Client,
    method: str,
    url: str,
    **request: Any,  # noqa: ANN401  httpx's own arguments
) -> httpx.Response:
    try:
        return http.request(method, url, **request)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise SignInFailed(f"cannot reach {url.partition('?')[0]}: {error}") from error


def _json(
    http: httpx.Client,
    method: str,
    url: str,
    **request: Any,  # noqa: ANN401  httpx's own arguments
) -> dict[str, Any]:
    answer = _ask(http, method, url, **request)
    try:
        body = answer.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise SignInFailed(f"{url} answered {answer.status_code} without JSON")
    if not answer.is_success:
        raise SignInFailed(_refusal({k: str(v) for k, v in body.items()}))
    return body
