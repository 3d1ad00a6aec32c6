"""Errors become HTTP responses here, and only here: problem details (RFC 9457)."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response

import app.tokens.errors as tokens
from app.builds import errors as builds
from app.contract import dpop
from app.contract.problems import MEDIA_TYPE, TYPE_PREFIX, Code, FieldError, Problem
from app.contract.status import Reason
from app.minting import MintError

#: Seconds that a client is asked to wait before it tries again, unless the error says otherwise.
_DEFAULT_RETRY_AFTER: Final = 2

_STATUS: Final[dict[Code, int]] = {
    Code.BAD_REQUEST: 400,
    Code.INVALID_REQUEST: 400,
    Code.MISSING_TOKEN: 401,
    Code.INVALID_TOKEN: 401,
    Code.INVALID_PROOF: 401,
    Code.SUPERSEDED_TOKEN: 401,
    Code.INSUFFICIENT_SCOPE: 403,
    Code.WRONG_TOKEN_KIND: 403,
    Code.WRONG_BUILD: 403,
    Code.NOT_FOUND: 404,
    Code.METHOD_NOT_ALLOWED: 405,
    Code.HELD_BY_ANOTHER: 409,
    Code.LEASE_LOST: 409,
    Code.RESULT_CONFLICT: 409,
    Code.LOG_CONFLICT: 409,
    Code.NOT_CANCELLABLE: 409,
    Code.BUILD_FINAL: 410,
    Code.LOG_INCOMPLETE: 412,
    Code.TOO_SLOW: 408,
    Code.TOO_LARGE: 413,
    Code.LOG_FULL: 413,
    Code.UNSUPPORTED_MEDIA_TYPE: 415,
    Code.LOG_GAP: 416,
    Code.RANGE_NOT_SATISFIABLE: 416,
    Code.INVALID_BODY: 422,
    Code.KEY_REUSED: 422,
    Code.TOO_MANY: 429,
    Code.QUEUE_FULL: 429,
    Code.TOO_MANY_STREAMS: 429,
    Code.INTERNAL: 500,
    Code.TOKEN_REFUSED: 502,
    Code.UNAVAILABLE: 503,
    Code.NO_TOKEN: 503,
}

#: The `error` of a challenge, for the codes that have one (RFC 6750 §3.1, RFC 9449 §7.1).
_CHALLENGE: Final[dict[Code, str]] = {
    Code.INVALID_REQUEST: "invalid_request",
    Code.INVALID_TOKEN: "invalid_token",
    Code.INVALID_PROOF: "invalid_dpop_proof",
    Code.SUPERSEDED_TOKEN: "invalid_token",
    Code.INSUFFICIENT_SCOPE: "insufficient_scope",
    Code.WRONG_TOKEN_KIND: "insufficient_scope",
    Code.WRONG_BUILD: "insufficient_scope",
}


def status_of(code: Code) -> int:
    return _STATUS[code]


class ApiError(Exception):
    """An `ApiError` becomes a response as it is; `more` has the problem's extension members."""

    def __init__(
        self,
        code: Code,
        detail: str,
        *,
        scope: frozenset[str] = frozenset(),
        headers: Mapping[str, str] | None = None,
        **more: Any,  # noqa: ANN401  RFC 9457 §3.2 allows any JSON
    ) -> None:
        self.code = code
        self.detail = detail
        self.scope = scope
        self.headers = dict(headers or {})
        self.more = more
        super().__init__(detail)


def quota_exceeded(
    code: Code, detail: str, *, policy: str, quota: int, wait: int, window: int | None = None
) -> ApiError:
    """Make a 429 that names its quota; `wait` and `window` are in seconds.

    The header fields and `violated-policies` are those of draft-ietf-httpapi-ratelimit-headers-11
    (§3, §4, §5.1).
    """
    more: dict[str, Any] = {"violated-policies": [policy]}
    return ApiError(
        code,
        detail,
        headers={
            "Retry-After": str(wait),
            "RateLimit-Policy": f'"{policy}";q={quota}' + (f";w={window}" if window else ""),
            "RateLimit": f'"{policy}";r=0;t={wait}',
        },
        **more,
    )


_REFUSALS: Final[dict[type[builds.BuildError], Code]] = {
    builds.NotFound: Code.NOT_FOUND,
    builds.KeyReused: Code.KEY_REUSED,
    builds.NotCancellable: Code.NOT_CANCELLABLE,
    builds.WrongBuild: Code.WRONG_BUILD,
    builds.Superseded: Code.SUPERSEDED_TOKEN,
    builds.HeldByAnother: Code.HELD_BY_ANOTHER,
    builds.LeaseLost: Code.LEASE_LOST,
    builds.BuildFinal: Code.BUILD_FINAL,
    builds.ResultConflict: Code.RESULT_CONFLICT,
    builds.LogGap: Code.LOG_GAP,
    builds.LogConflict: Code.LOG_CONFLICT,
    builds.LogFull: Code.LOG_FULL,
    builds.LogIncomplete: Code.LOG_INCOMPLETE,
}


def _of_build(error: builds.BuildError) -> ApiError:
    detail = str(error) or type(error).__doc__ or ""
    match error:
        case builds.StoreUnavailable():
            wait = str(round(error.retry_after))
            return ApiError(Code.UNAVAILABLE, detail, headers={"Retry-After": wait})
        case builds.QueueFull():
            return quota_exceeded(
                Code.QUEUE_FULL,
                detail,
                policy="queue",
                quota=error.limit,
                wait=round(error.retry_after),
            )
        case builds.SpecRefused():
            field = FieldError(pointer=error.pointer, detail=detail)
            return ApiError(
                Code.INVALID_BODY, "the spec is not accepted", errors=[field.model_dump()]
            )
        case builds.ResultConflict():
            recorded = {"status": error.status, "log_sha256": error.log_sha256}
            return ApiError(Code.RESULT_CONFLICT, detail, recorded=recorded)
        case builds.LogGap() | builds.LogConflict() | builds.LogFull() | builds.LogIncomplete():
            return ApiError(_REFUSALS[type(error)], detail, end=error.end)
        case _:
            return ApiError(_REFUSALS[type(error)], detail)


def _of_mint(error: MintError) -> ApiError:
    """Answer a submission that failed because the user's token could not be exchanged."""
    if error.reason is Reason.NO_TOKEN:
        headers = {"Retry-After": str(max(1, round(error.retry_after or _DEFAULT_RETRY_AFTER)))}
        return ApiError(Code.NO_TOKEN, str(error), headers=headers)
    return ApiError(Code.TOKEN_REFUSED, str(error))


def _of_token(error: tokens.TokenError) -> ApiError:
    match error:
        case tokens.KeysUnavailable():
            wait = str(max(1, round(error.retry_after)))
            detail = "the issuer's keys cannot be had at the moment"
            return ApiError(Code.UNAVAILABLE, detail, headers={"Retry-After": wait})
        case tokens.InvalidProof():
            return ApiError(Code.INVALID_PROOF, str(error))
        case tokens.InsufficientScope():
            return ApiError(Code.INSUFFICIENT_SCOPE, str(error), scope=error.needed)
        case tokens.WrongKind():
            return ApiError(Code.WRONG_TOKEN_KIND, str(error))
        case _:
            return ApiError(Code.INVALID_TOKEN, str(error))


def of_validation(error: ValidationError) -> ApiError:
    """Make a 422 with a JSON Pointer (RFC 6901) to each wrong member."""
    items = error.errors(include_url=False, include_context=False, include_input=False)
    fields = [
        FieldError(
            pointer="".join(
                "/" + str(part).replace("~", "~0").replace("/", "~1") for part in item["loc"]
            ),
            detail="no such field"
            if item["type"] == "extra_forbidden"
            else item["msg"].removeprefix("Value error, "),
        ).model_dump()
        for item in items
    ]
    names = ", ".join(field["pointer"] or "the body" for field in fields[:5])
    return ApiError(Code.INVALID_BODY, f"the body is not accepted: see {names}", errors=fields)


def as_api_error(error: Exception) -> ApiError | None:
    """Return the `ApiError` for an expected error; None for any other exception."""
    match error:
        case ApiError():
            return error
        case builds.BuildError():
            return _of_build(error)
        case MintError():
            return _of_mint(error)
        case tokens.TokenError():
            return _of_token(error)
        case _:
            return None


class Problems:
    """`Problems` makes the responses; its challenges name the URL of this API's metadata."""

    def __init__(self, *, metadata_url: str, root: str) -> None:
        """Take the metadata's URL, and the path of the API's URL (`root`), which may be empty."""
        self._metadata_url = metadata_url
        self._root = root

    def response(self, error: ApiError, request: Request) -> Response:
        """Return the response for an error; 401 and 403 get a challenge, 429 and 503 a wait."""
        status = _STATUS[error.code]
        headers = dict(error.headers)
        if status in {401, 403} or error.code is Code.INVALID_REQUEST:
            headers["WWW-Authenticate"] = self._challenge(error, scheme_of(request))
        if status in {429, 503}:
            headers.setdefault("Retry-After", str(_DEFAULT_RETRY_AFTER))
        problem = Problem(
            type=TYPE_PREFIX + error.code,
            title=HTTPStatus(status).phrase,
            status=status,
            detail=error.detail,
            # Not request.url, which contains the client's Host: that may be anything.
            instance=self._root + quote(request.scope["path"]),
            **error.more,
        )
        return Response(
            problem.model_dump_json(exclude_none=True),
            status,
            headers | {"Cache-Control": "no-store"},
            MEDIA_TYPE,
        )

    def _challenge(self, error: ApiError, scheme: str) -> str:
        """Return a challenge (RFC 6750 §3, RFC 9449 §7.1) with `resource_metadata` (RFC 9728 §5.1).

        No text in it comes from the request.
        """
        parts = ['realm="baton"']
        word = _CHALLENGE.get(error.code)
        if word:  # no error code when there were no credentials (RFC 6750 §3.1)
            parts.append(f'error="{word}"')
            parts.append(f'error_description="{_quotable(error.detail)}"')
        if error.scope:
            parts.append(f'scope="{" ".join(sorted(error.scope))}"')
        parts.append(f'resource_metadata="{self._metadata_url}"')
        if scheme == dpop.SCHEME:
            parts.append(f'algs="{dpop.ALGORITHM}"')
        return f"{scheme} {', '.join(parts)}"


def scheme_of(request: Request) -> str:
    """Return the authentication scheme of a request: `DPoP`, else `Bearer`."""
    scheme = request.headers.get("authorization", "").partition(" ")[0].lower()
    return dpop.SCHEME if scheme == dpop.SCHEME.lower() else "Bearer"


def _quotable(text: str) -> str:
    """Replace what a challenge may not quote (RFC 6750 §3: %x20-21 / %x23-5B / %x5D-7E)."""
    return "".join(c if " " <= c <= "~" and c not in '"\\' else "'" for c in text)
