"""The pages on which a user lets a device, like a terminal, act for them."""

from html import escape
from http import HTTPStatus
from string import Template
from typing import Final

from starlette.responses import HTMLResponse

from app.issuer import paths
from app.issuer.devices import Device
from app.issuer.page import Pages, alert, name_field

_TITLE: Final = "Connect a terminal"

_CODE: Final = Template(
    """<h1>Connect a terminal</h1>
<p>Type the code that it shows.</p>
$wrong
<form method="get" action="$action">
<label for="user_code">Code</label>
<input id="user_code" name="user_code" value="$user_code" required maxlength="32" autofocus
 autocomplete="off" autocapitalize="characters" spellcheck="false">
<button type="submit">Continue</button>
</form>"""
)

# RFC 8628 §3.3.1: a user who followed a link compares the code; the device may be an attacker's.
_REVIEW: Final = Template(
    """<h1>Connect a terminal</h1>
<p>Does your terminal show the code <strong>$user_code</strong>? If not, deny.</p>
<p>$client asks for: $scope</p>
$wrong
<form method="post" action="$action">
<input type="hidden" name="transaction" value="$transaction">
$name_field
<button type="submit" name="decision" value="allow">Allow</button>
<button type="submit" name="decision" value="deny" class="other" formnovalidate>Deny</button>
</form>
<p class="quiet">Development only: no password, anyone may be anyone.</p>"""
)


class DevicePages:
    """`DevicePages` renders the pages of `Activation`."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    def code(
        self, typed: str = "", *, wrong: str | None = None, status: int = HTTPStatus.OK
    ) -> HTMLResponse:
        """Return the form for the code; `wrong` says why the one that was `typed` is refused."""
        content = _CODE.substitute(
            wrong=alert(wrong), action=paths.ACTIVATE.lstrip("/"), user_code=escape(typed)
        )
        return self._pages.page(_TITLE, content, status, form_action="'self'")

    def review(
        self, transaction: str, device: Device, *, username: str = "", wrong: str | None = None
    ) -> HTMLResponse:
        """Return what the device asks for, to allow or deny; `wrong` says what to correct (400)."""
        content = _REVIEW.substitute(
            user_code=device.user_code,
            wrong=alert(wrong),
            action=paths.ACTIVATE.lstrip("/"),
            transaction=escape(transaction),
            name_field=name_field(username),
            client=escape(device.client_id),
            scope=escape(" ".join(device.scopes)) or "nothing",
        )
        status = HTTPStatus.BAD_REQUEST if wrong else HTTPStatus.OK
        return self._pages.page(_TITLE, content, status, form_action="'self'")

    def done(self, *, allowed: bool) -> HTMLResponse:
        """Return the last page, after either decision."""
        content = (
            "<h1>Your terminal is connected</h1>\n<p>You may close this page and go back to it.</p>"
            if allowed
            else "<h1>Denied</h1>\n<p>The terminal gets nothing. You may close this page.</p>"
        )
        return self._pages.page(_TITLE, content, HTTPStatus.OK, form_action="'none'")
