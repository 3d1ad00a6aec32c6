"""Workers' calls: claim, heartbeat, log, result. Each with the build's own token."""

from typing import Final

from pydantic import BaseModel, RootModel
from starlette.requests import Request
from starlette.responses import Response

from app.api import bodies
from app.api.operation import unhurried
from app.api.problems import ApiError
from app.api.state import state
from app.builds.model import Credential
from app.contract import prefer
from app.contract.problems import Code
from app.contract.runs import (
    LEASE_HEADER,
    MAX_LOG_CHUNK,
    MAX_LOG_TAIL,
    ClaimRequest,
    Handback,
    Progress,
    Result,
)
from app.contract.status import Status

#: Bytes of a report that are the log's tail, in base64.
_MAX_TAIL: Final = MAX_LOG_TAIL * 4 // 3 + 4


class Report(RootModel[Progress | Handback | Result]):
    """How far a running build is, that it has to go elsewhere, or its end."""


class _Kind(BaseModel):
    """What tells the three apart, so that errors speak of the one that was meant."""

    status: Status


async def claim(request: Request, credential: Credential) -> Response:
    body = await bodies.read_model(request, ClaimRequest, state(request).max_body)
    answer = await state(request).service.claim(request.path_params["build_id"], credential, body)
    return _json(answer)


async def heartbeat(request: Request, credential: Credential) -> Response:
    """Held while there is no order, where the worker prefers that."""
    build_id, lease = request.path_params["build_id"], _lease(request)
    heartbeats = state(request).held_heartbeats
    wish = prefer.parse_wait(",".join(request.headers.getlist(prefer.PREFER)))
    seconds = heartbeats.hold_time(wish)
    with heartbeats.listen(build_id, credential, lease) as held:
        directive = await state(request).service.renew(build_id, credential, lease)
        if not seconds:
            return _json(directive)
        if not directive.cancel:
            with unhurried(request):
                directive = await held.order(seconds, lambda: _left(request)) or directive
    response = _json(directive)
    response.headers[prefer.PREFERENCE_APPLIED] = prefer.format_wait(seconds)
    return response


async def append_log(request: Request, credential: Credential) -> Response:
    lease = _lease(request)
    data = await bodies.read(request, MAX_LOG_CHUNK)
    offset = bodies.content_range(request, len(data))
    answer = await state(request).service.append_log(
        request.path_params["build_id"], credential, lease, offset, data
    )
    return _json(answer, 202)


async def report(request: Request, credential: Credential) -> Response:
    lease = _lease(request)
    body = await bodies.read_json(request, state(request).max_body + _MAX_TAIL)
    build_id = request.path_params["build_id"]
    service = state(request).service
    match bodies.validated(_Kind, body).status:
        case Status.RUNNING:
            progress = bodies.validated(Progress, body)
            return _json(await service.renew(build_id, credential, lease, progress))
        case Status.QUEUED:
            bodies.validated(Handback, body)
            return _json(await service.hand_back(build_id, credential, lease))
        case _:
            result = bodies.validated(Result, body)
            return _json(await service.finish(build_id, credential, lease, result))


async def _left(request: Request) -> None:
    """Return when the client has gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _lease(request: Request) -> str:
    lease = request.headers.get(LEASE_HEADER)
    if not lease:
        raise ApiError(Code.BAD_REQUEST, f"send the claim's lease id as {LEASE_HEADER}")
    return lease


def _json(body: BaseModel, status: int = 200) -> Response:
    return Response(
        body.model_dump_json(), status, {"Cache-Control": "no-store"}, "application/json"
    )
