"""The API as a worker sees it, for tests that want it to behave badly."""

import asyncio
import base64
import hashlib
import json
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from app.contract import prefer
from app.contract.problems import MEDIA_TYPE, TYPE_PREFIX, Code

BUILD, TOKEN, LEASE = "bld_01TEST", "header.payload.signature", "lease-1"

Behaviour = Callable[["Double", Request, bytes], Awaitable[Response | None]]


def answer(body: dict[str, Any], status: int = 200) -> Response:
    return Response(json.dumps(body), status, media_type="application/json")


def first_byte(request: Request) -> int:
    return int(request.headers["content-range"].removeprefix("bytes ").partition("-")[0])


def problem(code: Code, status: int, **more: Any) -> Response:
    body = {"type": TYPE_PREFIX + code, "title": "", "status": status, "detail": "no", **more}
    return Response(json.dumps(body), status, media_type=MEDIA_TYPE)


@dataclass
class Double:
    """Speaks as the API does, of one build; `misbehave` is used up first, one for each request."""

    build_id: str = BUILD
    token: str = TOKEN
    lease: str = LEASE
    log: bytearray = field(default_factory=bytearray)
    start: int = 0
    misbehave: deque[Behaviour] = field(default_factory=deque)
    always: Behaviour | None = None
    cancel: bool = False
    scripts: tuple[str, ...] = ("true",)
    claim_more: dict[str, Any] = field(default_factory=dict)
    lease_seconds: float = 3.0
    #: Of the version before: it knows nothing of a tail that comes with the result.
    old: bool = False
    requests: list[tuple[str, str]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    nonces: list[str] = field(default_factory=list)
    progress: list[dict[str, Any]] = field(default_factory=list)
    result: dict[str, Any] | None = None
    holds: bool = False  #: heartbeats, where they prefer it; an older API does not
    ending: bool = False  #: answers those that it holds, as a process that is told to end
    held: int = 0  #: heartbeats that are waiting now
    prefers: list[str | None] = field(default_factory=list)  #: of each heartbeat

    def app(self) -> Starlette:
        methods = ["GET", "POST", "PUT", "PATCH"]
        return Starlette(routes=[Route("/{path:path}", self.handle, methods=methods)])

    async def handle(self, request: Request) -> Response:
        body = await request.body()
        self.requests.append((request.method, request.url.path))
        self.times.append(time.monotonic())
        assert request.headers["authorization"] == f"Bearer {self.token}"
        behaviour = self.misbehave.popleft() if self.misbehave else self.always
        refused = await behaviour(self, request, body) if behaviour else None
        if not refused and request.url.path.endswith("/heartbeat"):
            return await self.heartbeat(request.headers.get(prefer.PREFER))
        return refused or self.well(request, body)

    async def heartbeat(self, preference: str | None) -> Response:
        self.prefers.append(preference)
        seconds = prefer.parse_wait(preference or "") if self.holds else 0
        end = time.monotonic() + seconds
        self.held += 1
        while time.monotonic() < end and not (self.cancel or self.ending or self.result):
            await asyncio.sleep(0.01)
        self.held -= 1
        if self.result:
            return problem(Code.BUILD_FINAL, 410)
        said = answer(self.directive())
        if seconds:
            said.headers[prefer.PREFERENCE_APPLIED] = prefer.format_wait(seconds)
        return said

    def well(self, request: Request, body: bytes) -> Response:
        match request.method, request.url.path.rpartition("/")[2]:
            case "POST", "claim":
                self.nonces.append(json.loads(body)["nonce"])
                return answer(self.claim())
            case "PATCH", "log":
                assert request.headers["baton-lease"] == self.lease
                return self.append(first_byte(request), body)
            case "POST", "heartbeat":
                return answer(self.directive())
            case "PUT", _:
                return self.report(json.loads(body))
            case other:
                raise AssertionError(other)

    def claim(self) -> dict[str, Any]:
        names = (f"step {n}" for n, _ in enumerate(self.scripts))
        spec = [{"name": name, "run": run} for name, run in zip(names, self.scripts, strict=True)]
        return {
            "build_id": self.build_id, "attempt": 1, "lease_id": self.lease, "lease_seconds": 3,
            "timeout": 60, "kill_grace": 1, "report_window": 10, "log_offset": self.start,
            "log_limit": 10**6, "spec": {"steps": spec}, **self.claim_more,
        }  # fmt: skip

    def directive(self) -> dict[str, Any]:
        return {"cancel": self.cancel, "lease_seconds": self.lease_seconds}

    def append(self, first: int, data: bytes) -> Response:
        end = len(self.log)
        if first > end:
            return problem(Code.LOG_GAP, 416, end=end)
        known = min(end - first, len(data))
        assert self.log[first : first + known] == data[:known], "other bytes at the same place"
        self.log += data[known:]
        return answer({"end": len(self.log), **self.directive()}, 202)

    def report(self, body: dict[str, Any]) -> Response:
        if body["status"] == "running":
            self.progress.append(body)
            return answer(self.directive())
        if not self.old:
            tail = base64.urlsafe_b64decode(body.get("log_tail", ""))
            known = len(self.log) - (body["log_length"] - len(tail))
            if 0 <= known <= len(tail):
                assert self.log[len(self.log) - known :] == tail[:known]
                self.log += tail[known:]
        if body["log_length"] != len(self.log):
            return problem(Code.LOG_INCOMPLETE, 412, end=min(len(self.log), body["log_length"]))
        if hashlib.sha256(self.log[self.start :]).hexdigest() != body["log_sha256"]:
            return problem(Code.LOG_INCOMPLETE, 412, end=self.start)
        self.result = body
        return answer(self.directive())


@dataclass
class Doubles:
    """Speaks as the API does of any number of builds."""

    builds: dict[str, Double] = field(default_factory=dict)
    asked_for: set[str] = field(default_factory=set)

    def app(self) -> Starlette:
        route = Route(
            "/builds/{build_id}{call:path}", self.handle, methods=["POST", "PUT", "PATCH"]
        )
        return Starlette(routes=[route])

    async def handle(self, request: Request) -> Response:
        build_id = request.path_params["build_id"]
        self.asked_for.add(build_id)
        build = self.builds.get(build_id)
        return await build.handle(request) if build else problem(Code.NOT_FOUND, 404)


async def bad_gateway(_: Double, __: Request, ___: bytes) -> Response:
    return Response("<h1>502 Bad Gateway</h1>", 502, media_type="text/html")


async def portal(_: Double, __: Request, ___: bytes) -> Response:
    return Response("<h1>Please log in</h1>", 200, media_type="text/html")


async def forbidden_by_a_wall(_: Double, __: Request, ___: bytes) -> Response:
    return Response("blocked", 403, media_type="text/plain")


async def elsewhere(_: Double, request: Request, __: bytes) -> Response:
    return Response(None, 308, {"Location": str(request.url.replace(path="/stolen"))})


async def not_taken(_: Double, __: Request, ___: bytes) -> Response:
    return problem(Code.INVALID_TOKEN, 401)


async def lost(_: Double, __: Request, ___: bytes) -> Response:
    return problem(Code.LEASE_LOST, 409)


async def cut_off_before(_: Double, __: Request, ___: bytes) -> Response:
    """The connection ends without an answer, and nothing was done."""
    return _Cut()


async def cut_off_after(double: Double, request: Request, body: bytes) -> Response:
    """The connection ends without an answer, but all was done."""
    double.well(request, body)
    return _Cut()


class _Cut(Response):
    async def __call__(self, _: Any, __: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200,
                    "headers": [(b"content-length", b"100")]})  # fmt: skip
        await send({"type": "http.response.body", "body": b"{", "more_body": False})


async def endless(_: Double, __: Request, ___: bytes) -> Response:
    async def flood() -> AsyncIterator[bytes]:
        for _ in range(80):  # 5 MiB, which is more than a worker takes
            yield b" " * 65536
            await asyncio.sleep(0)

    return StreamingResponse(flood(), media_type="application/json")


def busy_for(seconds: int) -> Behaviour:
    async def busy(_: Double, __: Request, ___: bytes) -> Response:
        response = problem(Code.UNAVAILABLE, 503)
        response.headers["Retry-After"] = str(seconds)
        return response

    return busy


def slow(seconds: float) -> Behaviour:
    async def wait(_: Double, __: Request, ___: bytes) -> None:
        await asyncio.sleep(seconds)

    return wait


NOISES: list[Behaviour] = [
    bad_gateway, portal, forbidden_by_a_wall, elsewhere, not_taken, endless, cut_off_before,
    cut_off_after, busy_for(0), slow(0.3),
]  # fmt: skip
