"""A `Grant` is what a token endpoint gives, for a code or for a refresh token."""

import re
from dataclasses import dataclass, field
from typing import Any, Final, Self

import httpx

from app.cli.sign_in.calls import SignInFailed, ask, ask_json

#: The characters of a token (RFC 6750 §2.1); others would break the header that carries it.
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*")


@dataclass(frozen=True, kw_only=True, slots=True)
class Grant:
    """A `Grant` holds the tokens of a user."""

    access_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False)
    expires_in: float | None  #: seconds; None where the issuer does not say
    scope: str  #: what was granted

    @classmethod
    def ask(cls, http: httpx.Client, token_endpoint: str, *, scope: str, **form: str) -> Self:
        """Send `form` to the token endpoint, and read its response.

        `scope` is what was requested, which the response may leave out. Raises `SignInFailed`.
        """
        return cls._read(ask_json(http, "POST", token_endpoint, data=form), scope)

    @classmethod
    def _read(cls, answer: dict[str, Any], scope: str) -> Self:
        """Read a successful response (RFC 6749 §5.1). Raises `SignInFailed`."""
        token, refresh = answer.get("access_token"), answer.get("refresh_token")
        if not isinstance(token, str) or not is_token(token):
            raise SignInFailed("the issuer gave no access token")
        if str(answer.get("token_type")).lower() != "bearer":  # §7.1: not to be used, else
            raise SignInFailed("the issuer gave a token that is no bearer token")
        granted = answer.get("scope")
        return cls(
            access_token=token,
            refresh_token=refresh if isinstance(refresh, str) and refresh else None,
            expires_in=_seconds(answer.get("expires_in")),
            scope=scope if granted is None else str(granted),
        )

    def lacks(self, scope: str) -> list[str]:
        """Return the parts of `scope` that were not granted, sorted."""
        return sorted(set(scope.split()) - set(self.scope.split()))


def is_token(text: str) -> bool:
    """Whether `text` can be sent as a bearer token."""
    return _TOKEN.fullmatch(text) is not None


def refresh(
    http: httpx.Client, token_endpoint: str, *, client_id: str, refresh_token: str, scope: str
) -> Grant:
    """Exchange a refresh token for new tokens (RFC 6749 §6).

    Raises `Refused`, with the code `invalid_grant` when the sign-in has ended, and `NoAnswer`.
    """
    return Grant.ask(
        http,
        token_endpoint,
        scope=scope,
        grant_type="refresh_token",
        client_id=client_id,
        refresh_token=refresh_token,
    )


def revoke(http: httpx.Client, endpoint: str, *, client_id: str, refresh_token: str) -> None:
    """Revoke a refresh token (RFC 7009 §2.1). Raises `SignInFailed`."""
    form = {
        "token": refresh_token,
        "token_type_hint": "refresh_token",
        "client_id": client_id,
    }
    answer = ask(http, "POST", endpoint, data=form)
    if not answer.is_success:
        raise SignInFailed(f"{endpoint} answered {answer.status_code}")


def _seconds(value: object) -> float | None:
    """Read `expires_in`, which some providers write as a string; None for no positive number."""
    try:
        seconds = float(value) if isinstance(value, str | int | float) else None
    except ValueError:
        return None
    return seconds if seconds is not None and 0 < seconds < float("inf") else None
