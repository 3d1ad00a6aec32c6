"""Workers claim builds and report them by these calls, each with the token of its build."""

from typing import Final

from pydantic import BaseModel, RootModel
from starlette.requests import Request
from starlette.responses import Response

from app.api import bodies
from app.api.operation import exclude_from_latency
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

#: Bytes of the log's tail in a report, in base64.
_MAX_TAIL: Final = MAX_LOG_TAIL * 4 // 3 + 4


class Report(RootModel[Progress | Handback | Result]):
    """A worker reports progress, a handback, or the result."""


class _Kind(BaseModel):
    """The status tells the three reports apart, so that errors are about the one that was sent."""

    status: Status


async def claim(request: Request, credential: Credential) -> Response:
    body = await bodies.read_model(request, ClaimRequest, state(request).max_body)
    answer = await state(request).service.claim(request.path_params["build_id"], credential, body)
    return _json(answer)


async def heartbeat(request: Request, credential: Credential) -> Response:
    """Renew the lease, and hold the response until there is an order if the worker prefers that."""
    build_id, lease = request.path_params["build_id"], _lease(request)
    heartbeats = state(request).held_heartbeats
    wish = prefer.parse_wait(",".join(request.headers.getlist(prefer.PREFER)))
    seconds = heartbeats.hold_time(wish)
    with heartbeats.listen(build_id, credential, lease) as held:
        directive = await state(request).service.renew(build_id, credential, lease)
        if not seconds:
            return _json(directive)
        if not directive.cancel:
            with exclude_from_latency(request):
                directive = await held.order(seconds, lambda: _disconnected(request)) or directive
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


async def _disconnected(request: Request) -> None:
    """Return when the client has disconnected."""
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
