"""`DeviceRequest` makes a device authorization grant (RFC 8628): the browser may be elsewhere."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Self

import httpx

from app.cli.sign_in.calls import NoAnswer, Refused, SignInFailed, ask_json
from app.cli.sign_in.grant import Grant
from app.cli.sign_in.provider import Provider

_GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"

_DEFAULT_INTERVAL: Final = 5.0  #: seconds between polls where the issuer names none (§3.2)
_SLOW_DOWN_INCREMENT: Final = 5.0  #: seconds more after each `slow_down` (§3.5)
_MAX_INTERVAL: Final = 60.0  #: seconds; the limit of the backoff when the issuer does not answer


@dataclass(frozen=True, kw_only=True, slots=True)
class DeviceRequest:
    """A `DeviceRequest` is one sign-in: `begin`, show its code and URI to the user, `wait`."""

    provider: Provider
    client_id: str
    scope: str
    user_code: str
    verification_uri: str
    verification_uri_complete: str | None
    expires_in: float  #: seconds
    interval: float  #: seconds
    device_code: str = field(repr=False)

    @classmethod
    def begin(
        cls,
        http: httpx.Client,
        provider: Provider,
        *,
        client_id: str,
        scope: str,
        audience: str | None,
    ) -> Self:
        """Ask the issuer for a device code (§3.1). Raises `SignInFailed`."""
        endpoint = provider.device_authorization_endpoint
        if endpoint is None:
            raise SignInFailed(f"{provider.issuer} does not offer sign-in by a device code")
        form = {"client_id": client_id, "scope": scope}
        if audience is not None:
            form["audience"] = audience
        answer = ask_json(http, "POST", endpoint, data=form)
        complete = answer.get("verification_uri_complete")
        try:
            return cls(
                provider=provider,
                client_id=client_id,
                scope=scope,
                user_code=str(answer["user_code"]),
                verification_uri=str(answer["verification_uri"]),
                verification_uri_complete=None if complete is None else str(complete),
                expires_in=float(answer["expires_in"]),
                interval=max(0.0, float(answer.get("interval", _DEFAULT_INTERVAL))),
                device_code=str(answer["device_code"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise SignInFailed(f"{endpoint} gave no device code") from error

    def wait(self, http: httpx.Client, *, sleep: Callable[[float], None] = time.sleep) -> Grant:
        """Poll the token endpoint until the user has answered (§3.4, §3.5).

        Raises `SignInFailed` when the user refuses, or the code expires.
        """
        end = time.monotonic() + self.expires_in
        pause = self.interval
        while time.monotonic() + pause < end:
            sleep(pause)
            try:
                return self._ask(http)
            except NoAnswer:
                # §3.5: an issuer that does not answer is polled less often.
                pause = min(max(pause, 1.0) * 2, max(_MAX_INTERVAL, self.interval))
            except Refused as refusal:
                if refusal.code == "slow_down":
                    pause += _SLOW_DOWN_INCREMENT
                elif refusal.code == "access_denied":
                    raise SignInFailed("you refused, or the issuer did: not signed in") from refusal
                elif refusal.code == "expired_token":
                    break
                elif refusal.code != "authorization_pending":
                    raise
        raise SignInFailed("nobody entered the code in time: run the command again for another")

    def _ask(self, http: httpx.Client) -> Grant:
        return Grant.ask(
            http,
            self.provider.token_endpoint,
            scope=self.scope,
            grant_type=_GRANT,
            client_id=self.client_id,
            device_code=self.device_code,
        )
