"""The frame of all pages, the login page, and the error page."""

import base64
import hashlib
import re
from html import escape
from http import HTTPStatus
from importlib.resources import files
from string import Template
from typing import Final
from urllib.parse import urlsplit

from starlette.responses import HTMLResponse

from app.issuer import paths

_LOGIN: Final = Template(
    """<h1>Sign in</h1>
<p class="quiet">to $client. Development only: no password, anyone may be anyone.</p>
$wrong
<form method="post" action="$action">
<input type="hidden" name="transaction" value="$transaction">
$name_field
<button type="submit">Continue</button>
</form>
<p class="quiet">It asks for: $scope</p>"""
)
_NAME_FIELD: Final = Template(
    """<label for="username">User name</label>
<input id="username" name="username" value="$username" required maxlength="128" autofocus
 autocomplete="username" autocapitalize="none" spellcheck="false">"""
)
_STYLE: Final = re.compile(r"<style>(.*?)</style>", re.DOTALL)


class Pages:
    """`Pages` renders HTML under a strict Content Security Policy."""

    def __init__(self) -> None:
        source = files("app.issuer").joinpath("login.html").read_text(encoding="utf-8")
        self._frame = Template(source)
        styles = "".join(_STYLE.findall(source)).encode()
        self._style_hash = base64.b64encode(hashlib.sha256(styles).digest()).decode()

    def login(
        self, *, transaction: str, client: str, scope: str, redirect_uri: str,
        username: str = "", wrong: str | None = None,
    ) -> HTMLResponse:  # fmt: skip
        """Return the login form; `wrong` says what to correct in it (400)."""
        content = _LOGIN.substitute(
            client=escape(client),
            wrong=alert(wrong),
            action=paths.AUTHORIZE.lstrip("/"),
            transaction=escape(transaction),
            name_field=name_field(username),
            scope=escape(scope) or "nothing",
        )
        status = HTTPStatus.BAD_REQUEST if wrong else HTTPStatus.OK
        return self.page("Sign in", content, status, form_action=_form_action(redirect_uri))

    def error(self, description: str, status: int = HTTPStatus.BAD_REQUEST) -> HTMLResponse:
        """Return an error that must not be sent to the redirect URI, as that may not be the
        client's."""
        content = f"<h1>This sign-in cannot go on</h1>\n<p>{escape(description)}</p>"
        return self.page("Error", content, status, form_action="'none'")

    def page(self, title: str, content: str, status: int, *, form_action: str) -> HTMLResponse:
        """Return `content` as a page that loads nothing, runs nothing and cannot be framed."""
        policy = (
            f"default-src 'none'; style-src 'sha256-{self._style_hash}'; "
            f"form-action {form_action}; base-uri 'none'; frame-ancestors 'none'"
        )
        headers = {
            "Content-Security-Policy": policy,
            "X-Frame-Options": "DENY",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-store",
        }
        html = self._frame.substitute(title=escape(title), content=content)
        return HTMLResponse(html, status, headers)


def name_field(username: str) -> str:
    """Return the field for the user name, as HTML."""
    return _NAME_FIELD.substitute(username=escape(username))


def alert(wrong: str | None) -> str:
    """Return what to correct, as HTML; nothing where nothing is wrong."""
    return f'<p class="wrong" role="alert">{escape(wrong)}</p>' if wrong else ""


def _form_action(redirect_uri: str) -> str:
    """Return the sources for `form-action`, which browsers apply to redirects of the form too."""
    url = urlsplit(redirect_uri)
    if url.scheme in {"http", "https"} and "[" not in url.netloc:
        return f"'self' {url.scheme}://{url.netloc}"
    return f"'self' {url.scheme}:"  # CSP has no way to write an IPv6 address
