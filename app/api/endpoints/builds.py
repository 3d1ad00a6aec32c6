"""Users submit, list, show, cancel and retry builds by these calls."""

import re
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from app.api import bodies
from app.api.auth import require, token_of
from app.api.problems import ApiError
from app.api.state import state
from app.builds.ids import PATTERN
from app.builds.service import PrefetchTokens
from app.contract import paths
from app.contract.builds import BuildPage, BuildView
from app.contract.problems import Code
from app.contract.scopes import DELEGATED
from app.contract.spec import BuildSpec
from app.contract.status import Status
from app.tokens.claims import UserPrincipal

_DEFAULT_LIMIT = 20
_MAX_LIMIT = 100
_MAX_LABELS = 8
#: Characters of the longest `name:value` that a spec may have.
_MAX_LABEL = 64 + 1 + 256
_DIGITS = re.compile(r"\d{1,3}\Z", re.ASCII)

_NOT_DELEGABLE = (
    "the build runs with the scope {}, and your token does not hold it, so it cannot be passed on: "
    "ask for it when you sign in"
)


async def submit(request: Request, user: UserPrincipal) -> Response:
    require(user, DELEGATED, _NOT_DELEGABLE)
    key = bodies.idempotency_key(request)
    spec = await bodies.read_model(request, BuildSpec, state(request).max_body)
    build = await state(request).service.submit(
        user.user_id, spec, idempotency_key=key, prefetch=_prefetch(request)
    )
    return _accepted(request, build)


async def retry(request: Request, user: UserPrincipal) -> Response:
    require(user, DELEGATED, _NOT_DELEGABLE)
    build = await state(request).service.retry(
        user.user_id,
        request.path_params["build_id"],
        idempotency_key=bodies.idempotency_key(request),
        prefetch=_prefetch(request),
    )
    return _accepted(request, build)


async def page(request: Request, user: UserPrincipal) -> Response:
    status = bodies.parameter(request, "status")
    if status is not None and status not in set(Status):
        raise ApiError(Code.BAD_REQUEST, f"status must be one of {', '.join(Status)}")
    limit = bodies.parameter(request, "limit")
    if limit is None:
        limit = str(_DEFAULT_LIMIT)
    if not (_DIGITS.match(limit) and 1 <= int(limit) <= _MAX_LIMIT):
        raise ApiError(Code.BAD_REQUEST, f"limit must be 1 to {_MAX_LIMIT}")
    cursor = bodies.parameter(request, "cursor")
    if cursor is not None and not PATTERN.match(cursor):
        raise ApiError(Code.BAD_REQUEST, "cursor must be the `next` of a page")
    labels = _labels(request)
    found = await state(request).service.page(
        user.user_id,
        status=Status(status) if status else None,
        cursor=cursor,
        limit=int(limit),
        labels=labels,
    )
    headers = {}
    if found.next:
        more = [("limit", limit), ("cursor", found.next), *(("label", label) for label in labels)]
        if status:
            more.append(("status", status))
        headers["Link"] = f'<{state(request).root}{paths.BUILDS}?{urlencode(more)}>; rel="next"'
    return _json(found, headers=headers)


def _labels(request: Request) -> list[str]:
    """Return the labels that the builds of a page must have; 400 when they are malformed."""
    labels = request.query_params.getlist("label")
    if len(labels) > _MAX_LABELS:
        raise ApiError(Code.BAD_REQUEST, f"at most {_MAX_LABELS} labels can be asked for at once")
    if not all(1 <= len(label) <= _MAX_LABEL for label in labels):
        raise ApiError(Code.BAD_REQUEST, "label must be a label's `name`, or its `name:value`")
    return labels


async def show(request: Request, user: UserPrincipal) -> Response:
    build = await state(request).service.show(user.user_id, request.path_params["build_id"])
    if build.status is Status.QUEUED:
        queue = await state(request).queue_positions.of(user.user_id, build.id)
        build = build.model_copy(update={"queue": queue})
    return _json(build)


async def cancel(request: Request, user: UserPrincipal) -> Response:
    build = await state(request).service.cancel(user.user_id, request.path_params["build_id"])
    return _json(build, 200 if build.status.final else 202)


def _prefetch(request: Request) -> PrefetchTokens | None:
    """Return the function that exchanges the user's token; None where tokens are minted."""
    exchange = state(request).exchange
    return exchange(token_of(request)) if exchange else None


def _accepted(request: Request, build: BuildView) -> Response:
    return _json(build, 202, {"Location": state(request).root + paths.of(paths.BUILD, build.id)})


def _json(
    body: BuildView | BuildPage, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    return Response(
        body.model_dump_json(),
        status,
        {"Cache-Control": "no-store", **(headers or {})},
        "application/json",
    )
