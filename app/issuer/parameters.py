"""The parameters of a request, from a query, a form or a JSON object, within limits."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qsl

from starlette.requests import Request

from app.issuer.config import KNOWN_SCOPES
from app.issuer.errors import OAuthError
from app.tokens.strict_json import parse_object

#: Bytes of a body. The longest real one carries a user id, a build id and a client secret.
MAX_BODY: Final = 16 * 1024
_MAX_QUERY: Final = 8 * 1024

_MAX_FIELDS: Final = 50

Parameters = Mapping[str, Any]


def pairs(encoded: bytes) -> list[tuple[str, str]]:
    """Return the fields of a form or query. Raises `OAuthError`."""
    try:
        return parse_qsl(
            encoded.decode("ascii"), keep_blank_values=True, errors="strict",
            max_num_fields=_MAX_FIELDS,
        )  # fmt: skip
    except ValueError:
        raise OAuthError(
            "invalid_request", "the parameters are not form-encoded UTF-8, or too many"
        ) from None


def query(request: Request) -> list[tuple[str, str]]:
    """Return the fields of a request's query. Raises `OAuthError`."""
    encoded = request.url.query.encode()
    if len(encoded) > _MAX_QUERY:
        raise OAuthError(
            "invalid_request", "The request is too long.", status=HTTPStatus.REQUEST_URI_TOO_LONG
        )
    return pairs(encoded)


def distinct(fields: Sequence[tuple[str, str]]) -> Parameters:
    """Return the fields by name, without those that have no value (RFC 6749 §3.2).

    Raises `OAuthError` for a field that is given twice.
    """
    names = [name for name, _ in fields]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise OAuthError("invalid_request", f"given more than once: {', '.join(repeated)}")
    return {name: value for name, value in fields if value}


async def body(request: Request) -> Parameters:
    """Return the parameters of a form or, as Auth0 takes it too, of a JSON object. Raises
    `OAuthError`."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    raw = await _read(request)
    if media_type == "application/x-www-form-urlencoded":
        return distinct(pairs(raw))
    if media_type != "application/json":
        raise OAuthError(
            "invalid_request",
            "send application/x-www-form-urlencoded or application/json",
            status=HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        )
    try:
        return parse_object(raw)
    except ValueError as error:
        raise OAuthError("invalid_request", f"the body is not a JSON object: {error}") from None


async def _read(request: Request) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_BODY:
            raise OAuthError(
                "invalid_request",
                f"the body is larger than {MAX_BODY} bytes",
                status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                close=True,  # the rest is not read
            )
        parts.append(part)
    return b"".join(parts)


def optional(parameters: Parameters, name: str) -> str | None:
    """Return a parameter, which must be a string; None if it is missing or empty. Raises
    `OAuthError`."""
    value = parameters.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise OAuthError("invalid_request", f"{name} must be a string")
    return value


def required(parameters: Parameters, name: str) -> str:
    """Return a parameter, which must be a string. Raises `OAuthError`, also if it is missing or
    empty."""
    value = optional(parameters, name)
    if value is None:
        raise OAuthError("invalid_request", f"{name} is missing")
    return value


def known_scopes(parameters: Parameters) -> tuple[str, ...]:
    """Return the known scopes that an application asks for; others are dropped, as at Auth0."""
    asked = (optional(parameters, "scope") or "").split(" ")
    return tuple(scope for scope in KNOWN_SCOPES if scope in asked)


async def page_form(request: Request) -> Parameters:
    """Return the form of one of the issuer's own pages. Raises `OAuthError`, for another site's
    form too."""
    # Browsers send the site of the form's page; other clients send no such header.
    if request.headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
        raise OAuthError(
            "access_denied", "The form is another site's.", status=HTTPStatus.FORBIDDEN
        )
    return await body(request)
