"""Workers' calls: claim, heartbeat, log, result. Each with the build's own token."""

from typing import Annotated

from pydantic import BaseModel, Field, RootModel
from starlette.requests import Request
from starlette.responses import Response

from app.api import bodies
from app.api.parts import parts
from app.api.problems import ApiError
from app.builds.model import Credential
from app.contract.problems import Code
from app.contract.runs import LEASE_HEADER, MAX_LOG_CHUNK, ClaimRequest, Handback, Progress, Result


class Report(RootModel[Annotated[Progress | Handback | Result, Field(union_mode="left_to_right")]]):
    """How far a running build is, that it has to go elsewhere, or its end."""


async def claim(request: Request, credential: Credential) -> Response:
    body = await bodies.read_model(request, ClaimRequest, parts(request).max_body)
    answer = await parts(request).service.claim(request.path_params["build_id"], credential, body)
    return _json(answer)


async def heartbeat(request: Request, credential: Credential) -> Response:
    answer = await parts(request).service.renew(
        request.path_params["build_id"], credential, _lease(request)
    )
    return _json(answer)


async def append_log(request: Request, credential: Credential) -> Response:
    lease = _lease(request)
    data = await bodies.read(request, MAX_LOG_CHUNK)
    offset = bodies.content_range(request, len(data))
    answer = await parts(request).service.append_log(
        request.path_params["build_id"], credential, lease, offset, data
    )
    return _json(answer, 202)


async def report(request: Request, credential: Credential) -> Response:
    lease = _lease(request)
    body = (await bodies.read_model(request, Report, parts(request).max_body)).root
    build_id = request.path_params["build_id"]
    service = parts(request).service
    if isinstance(body, Progress):
        return _json(await service.renew(build_id, credential, lease, body))
    if isinstance(body, Handback):
        return _json(await service.hand_back(build_id, credential, lease))
    return _json(await service.finish(build_id, credential, lease, body))


def _lease(request: Request) -> str:
    lease = request.headers.get(LEASE_HEADER)
    if not lease:
        raise ApiError(Code.BAD_REQUEST, f"send the claim's lease id as {LEASE_HEADER}")
    return lease


def _json(body: BaseModel, status: int = 200) -> Response:
    return Response(
        body.model_dump_json(), status, {"Cache-Control": "no-store"}, "application/json"
    )
