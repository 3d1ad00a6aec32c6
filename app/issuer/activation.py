"""The verification page (RFC 8628 §3.3), where a user types a device's code and decides on it."""

import math
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response

from app.issuer.device_page import DevicePages
from app.issuer.devices import Device, Devices
from app.issuer.errors import OAuthError
from app.issuer.one_time_store import OneTimeStore
from app.issuer.page import Pages
from app.issuer.parameters import (
    Parameters,
    distinct,
    optional,
    page_form,
    query,
    required,
)
from app.issuer.throttle import Throttle
from app.issuer.user_name import RULE, User

_EXPIRED = "It took too long or was done already; go back to your terminal and begin again."


class Activation:
    """`Activation` shows the holder of a user code what the device asks for, under a one-time
    `transaction`.

    The answer carries the transaction and not the code: so codes are looked up in one place, which
    counts the wrong ones (RFC 8628 §5.1).
    """

    def __init__(self, devices: Devices, throttle: Throttle, *, lifetime: float) -> None:
        self._devices = devices
        self._throttle = throttle
        self._reviews: OneTimeStore[Device] = OneTimeStore(lifetime=lifetime)
        self._pages = Pages()
        self._device_pages = DevicePages(self._pages)

    async def handle(self, request: Request) -> Response:
        """Serve `GET` and `POST`."""
        return await (self.answer(request) if request.method == "POST" else self.ask(request))

    async def ask(self, request: Request) -> Response:
        """`GET`: return the page that asks for `user_code`, or with a valid one, what its device
        asks for."""
        try:
            typed = optional(distinct(query(request)), "user_code")
        except OAuthError as error:
            return self._pages.error(error.description, error.status)
        if typed is None:
            return self._device_pages.code()
        wait = math.ceil(self._throttle.wait())
        if wait:
            answer = self._device_pages.code(
                typed,
                wrong=f"Too many wrong codes; try again in {wait} seconds.",
                status=HTTPStatus.TOO_MANY_REQUESTS,
            )
            answer.headers["Retry-After"] = str(wait)
            return answer
        device = self._devices.waiting(typed)
        if device is None:
            self._throttle.count_wrong()
            return self._device_pages.code(
                typed,
                wrong="No terminal waits with this code: look there whether it is the same.",
                status=HTTPStatus.BAD_REQUEST,
            )
        return self._device_pages.review(self._reviews.add(device), device)

    async def answer(self, request: Request) -> Response:
        """`POST` of the form: `transaction`, `decision` (`allow` or `deny`), and `username`."""
        try:
            return self._decide(await page_form(request))
        except OAuthError as error:
            return self._pages.error(error.description, error.status)

    def _decide(self, parameters: Parameters) -> Response:
        transaction = required(parameters, "transaction")
        decision = required(parameters, "decision")
        username = optional(parameters, "username") or ""
        device = self._reviews.get(transaction)
        if device is None:
            return self._pages.error(_EXPIRED)
        if decision not in {"allow", "deny"}:
            return self._pages.error("The decision is allow or deny.")
        user = User.of(username) if decision == "allow" else None
        if decision == "allow" and user is None:
            return self._device_pages.review(transaction, device, username=username, wrong=RULE)
        self._reviews.take(transaction)
        if not self._devices.decide(device, user):
            return self._pages.error(_EXPIRED)
        return self._device_pages.done(allowed=user is not None)
