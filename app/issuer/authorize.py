"""The authorization endpoint (RFC 6749 §4.1.1, RFC 7636, RFC 9207) signs a user in and issues a
code."""

import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import urlencode, urlsplit, urlunsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app.issuer.claims import SignIn
from app.issuer.clients import Clients, may_redirect
from app.issuer.config import IssuerConfig
from app.issuer.errors import OAuthError
from app.issuer.one_time_store import OneTimeStore
from app.issuer.page import Pages
from app.issuer.parameters import (
    Parameters,
    known_scopes,
    optional,
    page_form,
    query,
    required,
)
from app.issuer.user_name import RULE, User

_CHALLENGE: Final = re.compile(r"[A-Za-z0-9_-]{43}\Z")  # RFC 7636 §4.2: a SHA-256 in base64url

#: A response that carries a code must not be cached, nor its URL sent as a referrer.
_SECRET: Final = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Login:
    """A valid authorization request that waits for its user."""

    client_id: str
    redirect_uri: str
    state: str | None
    scopes: tuple[str, ...]
    nonce: str | None
    challenge: str
    login_hint: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Code:
    """What an authorization code stands for, and what its client has to prove."""

    sign_in: SignIn
    redirect_uri: str
    challenge: str


class Authorization:
    """`Authorization` has two steps: the login page, and the redirect with the code."""

    def __init__(self, config: IssuerConfig, clients: Clients, codes: OneTimeStore[Code]) -> None:
        self._config = config
        self._clients = clients
        self._codes = codes
        self._logins: OneTimeStore[Login] = OneTimeStore(lifetime=config.login_lifetime)
        self._pages = Pages()

    async def handle(self, request: Request) -> Response:
        """Serve `GET` and `POST`."""
        return await (self.answer(request) if request.method == "POST" else self.ask(request))

    async def ask(self, request: Request) -> Response:
        """`GET`: return the login page, or the error where RFC 6749 §4.1.2.1 wants it."""
        try:
            fields = query(request)
        except OAuthError as error:
            return self._pages.error(error.description, error.status)
        parameters = {name: value for name, value in fields if value}
        repeated = {name for name, _ in fields if [n for n, _ in fields].count(name) > 1}
        client = self._clients.signing_in(parameters.get("client_id"))
        if client is None or "client_id" in repeated:
            return self._pages.error("client_id is not that of a known application.")
        redirect_uri = parameters.get("redirect_uri", "")
        if "redirect_uri" in repeated or not may_redirect(redirect_uri, client.redirect_uris):
            return self._pages.error("redirect_uri is not registered for this application.")
        state = None if "state" in repeated else parameters.get("state")
        try:
            login = self._parse_login(parameters, redirect_uri, repeated)
        except OAuthError as error:
            return self._redirect(
                redirect_uri, state, error=error.code, error_description=error.description
            )
        return self._login_page(self._logins.add(login), login, username=login.login_hint)

    async def answer(self, request: Request) -> Response:
        """`POST` of the login page's form, `transaction` and `username`: redirect with the code
        (302)."""
        try:
            parameters = await page_form(request)
            transaction = required(parameters, "transaction")
            username = optional(parameters, "username") or ""
        except OAuthError as error:
            return self._pages.error(error.description, error.status)
        login = self._logins.get(transaction)
        if login is None:
            return self._pages.error(
                "It took too long or was done already; go back to the application and begin again."
            )
        user = User.of(username)
        if user is None:
            return self._login_page(transaction, login, username=username, wrong=RULE)
        self._logins.take(transaction)
        code = self._codes.add(
            Code(
                sign_in=SignIn(
                    user_id=user.user_id,
                    name=user.name,
                    client_id=login.client_id,
                    scopes=login.scopes,
                    nonce=login.nonce,
                ),
                redirect_uri=login.redirect_uri,
                challenge=login.challenge,
            )
        )
        return self._redirect(login.redirect_uri, login.state, code=code)

    def _parse_login(self, parameters: Parameters, redirect_uri: str, repeated: set[str]) -> Login:
        if repeated:
            raise OAuthError("invalid_request", f"given twice: {', '.join(sorted(repeated))}")
        if required(parameters, "response_type") != "code":
            raise OAuthError("unsupported_response_type", "only response_type=code is offered")
        if parameters.get("response_mode", "query") != "query":
            raise OAuthError("invalid_request", "only response_mode=query is offered")
        if parameters.get("code_challenge_method") != "S256":
            raise OAuthError("invalid_request", "code_challenge_method=S256 is required")
        challenge = required(parameters, "code_challenge")
        if not _CHALLENGE.match(challenge):
            raise OAuthError("invalid_request", "code_challenge is not an S256 challenge")
        audience = required(parameters, "audience")
        if audience != self._config.audience:
            raise OAuthError("access_denied", f"Service not found: {audience}")
        if "none" in parameters.get("prompt", "").split():
            raise OAuthError("login_required", "nobody stays signed in here")
        return Login(
            client_id=parameters["client_id"],
            redirect_uri=redirect_uri,
            state=parameters.get("state"),
            scopes=known_scopes(parameters),
            nonce=parameters.get("nonce"),
            challenge=challenge,
            login_hint=parameters.get("login_hint", ""),
        )

    def _login_page(
        self, transaction: str, login: Login, *, username: str, wrong: str | None = None
    ) -> Response:
        return self._pages.login(
            transaction=transaction,
            client=login.client_id,
            scope=" ".join(login.scopes),
            redirect_uri=login.redirect_uri,
            username=username,
            wrong=wrong,
        )

    def _redirect(self, redirect_uri: str, state: str | None, **answer: str) -> Response:
        """Redirect with `answer` added to the query of the redirect URI (RFC 6749 §3.1.2)."""
        added = {**answer, **({"state": state} if state else {}), "iss": self._config.issuer}
        url = urlsplit(redirect_uri)
        query = "&".join(part for part in (url.query, urlencode(added)) if part)
        return RedirectResponse(
            urlunsplit(url._replace(query=query)), HTTPStatus.FOUND, headers=_SECRET
        )
