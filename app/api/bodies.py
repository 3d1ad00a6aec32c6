"""These functions read bodies, parameters and headers of requests, within their limits.

What is wrong with a request is an `ApiError`; the docstrings name its status.
"""

import re
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from app.api.problems import ApiError, of_validation
from app.contract.problems import Code
from app.tokens.strict_json import parse

#: A bare key, or a structured-field string (draft-ietf-httpapi-idempotency-key-header §2.1).
_KEY: Final = re.compile(r'("?)([\x21\x23-\x5b\x5d-\x7e]{1,255})\1\Z')

_CONTENT_RANGE: Final = re.compile(r"bytes (\d{1,15})-(\d{1,15})/\*\Z", re.ASCII)
#: RFC 9110 §14.1: names of range units are case-insensitive.
_RANGE: Final = re.compile(r"bytes=(\d{0,19})-(\d{0,19})\Z", re.IGNORECASE | re.ASCII)

#: Bytes above the limit that are read and discarded. If a connection closes while the client still
#: sends, the client sees a reset in place of the response (RFC 9112 §9.6), and a proxy says 502.
_MAX_DISCARDED: Final = 4 * 1024 * 1024

M = TypeVar("M", bound=BaseModel)


async def read(request: Request, limit: int) -> bytes:
    """Return the body; 413 when it is larger than `limit` bytes.

    A body that is a little too large is read to its end first, so that its sender gets the
    response; one that is far too large is refused at once.
    """
    announced = request.headers.get("content-length", "")
    length = int(announced) if announced.isdigit() else 0
    if length > limit + _MAX_DISCARDED or (length > limit and "expect" in request.headers):
        raise _too_large(limit, whole=False)
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        parts.append(part)
        if size > limit:
            parts.clear()
        if size > limit + _MAX_DISCARDED:
            raise _too_large(limit, whole=False)
    if size > limit:
        raise _too_large(limit, whole=True)
    return b"".join(parts)


def _too_large(limit: int, *, whole: bool) -> ApiError:
    """Make the 413. Unless the body was read to its end (`whole`), the connection has to close."""
    headers = {} if whole else {"Connection": "close"}
    return ApiError(Code.TOO_LARGE, f"the body is larger than {limit} bytes", headers=headers)


async def read_model(request: Request, model: type[M], limit: int) -> M:
    """Return a JSON body as `model`; else 400, 413, 415 or 422."""
    return validated(model, await read_json(request, limit))


async def read_json(request: Request, limit: int) -> Any:  # noqa: ANN401  any JSON
    """Return the value of a body that is JSON, and is labelled so; else 400, 413 or 415."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise ApiError(Code.UNSUPPORTED_MEDIA_TYPE, "send JSON: Content-Type: application/json")
    body = await read(request, limit)
    try:
        return parse(body)
    except ValueError as error:
        raise ApiError(Code.BAD_REQUEST, f"the body is not JSON that we take: {error}") from None


def validated(model: type[M], value: object) -> M:
    """Return the value of a JSON body as `model`; else 422."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise of_validation(error) from None


def parameter(request: Request, name: str) -> str | None:
    """Return a parameter of the query; 400 when it is there twice."""
    found = request.query_params.getlist(name)
    if len(found) > 1:
        raise ApiError(Code.BAD_REQUEST, f"{name} must be there once, not {len(found)} times")
    return found[0] if found else None


def flag(request: Request, name: str, *, default: bool) -> bool:
    """Return a parameter of the query that is 1 or 0; else 400."""
    value = parameter(request, name)
    if value not in {None, "0", "1", "false", "true"}:
        raise ApiError(Code.BAD_REQUEST, f"{name} must be 1 or 0")
    return default if value is None else value in {"1", "true"}


def idempotency_key(request: Request) -> str | None:
    """Return the key of `Idempotency-Key`; 400 when it is malformed."""
    value = request.headers.get("idempotency-key")
    if value is None:
        return None
    found = _KEY.match(value)
    if not found:
        raise ApiError(
            Code.BAD_REQUEST, "Idempotency-Key must be 1 to 255 printable ASCII characters"
        )
    return found[2]


def content_range(request: Request, size: int) -> int:
    """Return the first byte of `Content-Range: bytes a-b/*` (RFC 9110 §14.4).

    400 when the range is malformed, or does not match a body of `size` bytes.
    """
    found = _CONTENT_RANGE.match(request.headers.get("content-range", ""))
    if not found or int(found[2]) - int(found[1]) + 1 != size:
        raise ApiError(
            Code.BAD_REQUEST, "Content-Range must be 'bytes first-last/*' and match the body"
        )
    return int(found[1])


def byte_range(request: Request, length: int) -> tuple[int, int | None] | None:
    """Return the first and last byte of a request's single range (RFC 9110 §14.2).

    The last is None for an open range, and a suffix range is counted from the end, `length`. The
    result is None where the whole is to be sent: without a range that we understand, for a method
    other than GET, and with `If-Range`, because no resource here has a validator that could match
    (§13.1.5).
    """
    if request.method != "GET" or "if-range" in request.headers:
        return None
    found = _RANGE.match(request.headers.get("range", ""))
    if not found or not (found[1] or found[2]):
        return None
    if not found[1]:
        return max(0, length - int(found[2])), None
    first, last = int(found[1]), int(found[2]) if found[2] else None
    return None if last is not None and last < first else (first, last)
