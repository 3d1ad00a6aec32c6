"""Reading requests: bodies within their limits, and headers that have a form."""

import re
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from app.api.problems import ApiError, of_validation
from app.contract.problems import Code
from app.tokens.strict_json import parse

#: Either a bare key or a structured-field string (draft-ietf-httpapi-idempotency-key-header §2.1).
_KEY: Final = re.compile(r'("?)([\x21\x23-\x5b\x5d-\x7e]{1,255})\1\Z')

_CONTENT_RANGE: Final = re.compile(r"bytes (\d{1,15})-(\d{1,15})/\*\Z", re.ASCII)
#: RFC 9110 §14.1: names of range units are case-insensitive.
_RANGE: Final = re.compile(r"bytes=(\d{0,19})-(\d{0,19})\Z", re.IGNORECASE | re.ASCII)

#: Bytes over its limit that are read of a body all the same. Where a connection closes while its
#: other end still sends, that end hears of a reset in place of the answer (RFC 9112 §9.6), and a
#: proxy says 502.
_MAX_DISCARDED: Final = 4 * 1024 * 1024

M = TypeVar("M", bound=BaseModel)


async def read(request: Request, limit: int) -> bytes:
    """The body. 413 when it is larger than `limit` bytes: after its end where that is near, so that
    its sender hears it, and else at once."""
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
    """`whole`: whether the body was read to its end; else the connection has to close."""
    headers = {} if whole else {"Connection": "close"}
    return ApiError(Code.TOO_LARGE, f"the body is larger than {limit} bytes", headers=headers)


async def read_model(request: Request, model: type[M], limit: int) -> M:
    """A JSON body as `model`; else 400, 413, 415 or 422."""
    return validated(model, await read_json(request, limit))


async def read_json(request: Request, limit: int) -> Any:  # noqa: ANN401  any JSON
    """The value of a body that is JSON, and says so; else 400, 413 or 415."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise ApiError(Code.UNSUPPORTED_MEDIA_TYPE, "send JSON: Content-Type: application/json")
    body = await read(request, limit)
    try:
        return parse(body)
    except ValueError as error:
        raise ApiError(Code.BAD_REQUEST, f"the body is not JSON that we take: {error}") from None


def validated(model: type[M], value: object) -> M:
    """The value of a JSON body as `model`; else 422."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise of_validation(error) from None


def parameter(request: Request, name: str) -> str | None:
    """A parameter of the query; 400 when it is there twice."""
    found = request.query_params.getlist(name)
    if len(found) > 1:
        raise ApiError(Code.BAD_REQUEST, f"{name} must be there once, not {len(found)} times")
    return found[0] if found else None


def flag(request: Request, name: str, *, default: bool) -> bool:
    """A parameter of the query that is 1 or 0."""
    value = parameter(request, name)
    if value not in {None, "0", "1", "false", "true"}:
        raise ApiError(Code.BAD_REQUEST, f"{name} must be 1 or 0")
    return default if value is None else value in {"1", "true"}


def idempotency_key(request: Request) -> str | None:
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
    """The offset of `Content-Range: bytes a-b/*` (RFC 9110 §14.4) that fits a body of `size`."""
    found = _CONTENT_RANGE.match(request.headers.get("content-range", ""))
    if not found or int(found[2]) - int(found[1]) + 1 != size:
        raise ApiError(
            Code.BAD_REQUEST, "Content-Range must be 'bytes first-last/*' and match the body"
        )
    return int(found[1])


def byte_range(request: Request, length: int) -> tuple[int, int | None] | None:
    """The single range asked for (RFC 9110 §14.2): first byte and last, or None for open.

    None when there is no range that we understand, for a method other than GET, and with an
    If-Range, as nothing here has a validator that could match (§13.1.5): then the whole is sent. A
    suffix range is counted from `length`.
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
