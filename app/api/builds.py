"""Users' calls about builds."""

from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from app.api import bodies
from app.api.guard import require
from app.api.parts import parts
from app.api.problems import ApiError
from app.builds.ids import PATTERN
from app.contract import paths
from app.contract.builds import BuildPage, BuildView
from app.contract.problems import Code
from app.contract.scopes import DELEGATED
from app.contract.spec import BuildSpec
from app.contract.status import Status
from app.tokens.claims import UserPrincipal

_DEFAULT_LIMIT = 20
_MAX_LIMIT = 100

_NOT_DELEGABLE = (
    "the build runs with the scope {}, and your token does not hold it, so it cannot be passed on: "
    "ask for it when you sign in"
)


async def submit(request: Request, user: UserPrincipal) -> Response:
    require(user, DELEGATED, _NOT_DELEGABLE)
    key = bodies.idempotency_key(request)
    spec = await bodies.read_model(request, BuildSpec, parts(request).max_body)
    build = await parts(request).service.submit(user.user_id, spec, idempotency_key=key)
    return _accepted(request, build)


async def retry(request: Request, user: UserPrincipal) -> Response:
    require(user, DELEGATED, _NOT_DELEGABLE)
    build = await parts(request).service.retry(
        user.user_id,
        request.path_params["build_id"],
        idempotency_key=bodies.idempotency_key(request),
    )
    return _accepted(request, build)


async def page(request: Request, user: UserPrincipal) -> Response:
    query = request.query_params
    status = query.get("status")
    if status is not None and status not in set(Status):
        raise ApiError(Code.BAD_REQUEST, f"status must be one of {', '.join(Status)}")
    limit = query.get("limit", str(_DEFAULT_LIMIT))
    if not (limit.isascii() and limit.isdigit() and 1 <= int(limit[:9]) <= _MAX_LIMIT):
        raise ApiError(Code.BAD_REQUEST, f"limit must be 1 to {_MAX_LIMIT}")
    cursor = query.get("cursor")
    if cursor is not None and not PATTERN.match(cursor):
        raise ApiError(Code.BAD_REQUEST, "cursor must be the `next` of a page before")
    found = await parts(request).service.page(
        user.user_id,
        status=Status(status) if status else None,
        cursor=cursor,
        limit=int(limit),
    )
    headers = {}
    if found.next:
        more = {"limit": limit, "cursor": found.next} | ({"status": status} if status else {})
        headers["Link"] = f'<{parts(request).root}{paths.BUILDS}?{urlencode(more)}>; rel="next"'
    return _json(found, headers=headers)


async def show(request: Request, user: UserPrincipal) -> Response:
    return _json(await parts(request).service.show(user.user_id, request.path_params["build_id"]))


async def cancel(request: Request, user: UserPrincipal) -> Response:
    build = await parts(request).service.cancel(user.user_id, request.path_params["build_id"])
    return _json(build, 200 if build.status.final else 202)


def _accepted(request: Request, build: BuildView) -> Response:
    return _json(build, 202, {"Location": parts(request).root + paths.of(paths.BUILD, build.id)})


def _json(
    body: BuildView | BuildPage, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    return Response(
        body.model_dump_json(),
        status,
        {"Cache-Control": "no-store", **(headers or {})},
        "application/json",
    )
