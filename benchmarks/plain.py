"""Builds without Baton: the least Celery and Starlette that run a command and tell what came of it.

`POST /builds` queues a command with Celery, a prefork worker runs it by `subprocess` and leaves the
result in Redis, `GET /builds/{id}` reads it there. No tokens, no record, no queue for each user, no
sandbox, no log while it runs; a build whose worker dies is lost.

A cancelled task gets SIGUSR1, Celery's soft time limit, on which it kills its command. With the
default, SIGTERM, only the pool's process would end, and the command live on.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import redis.asyncio
import uvicorn
from celery import Celery
from celery.exceptions import SoftTimeLimitExceeded
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from tests.support.servers.redis_process import RedisProcess, free_port
from tests.support.stack import Part
from tests.support.waiting import wait_until

_REDIS: Final = "PLAIN_REDIS_URL"  #: the variable that names it

celery = Celery("benchmarks.plain", broker=os.environ.get(_REDIS), backend=os.environ.get(_REDIS))


@celery.task(name="build")
def build(command: str) -> dict[str, Any]:
    process = subprocess.Popen(
        ["sh", "-e", "-c", command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        log, _ = process.communicate()
    except SoftTimeLimitExceeded:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    return {"status": "failed" if process.returncode else "succeeded", "log": log.decode()}


def api(redis_url: str) -> Starlette:
    results = redis.asyncio.Redis.from_url(redis_url)

    async def submit(request: Request) -> JSONResponse:
        command = json.loads(await request.body())["command"]
        sent = await run_in_threadpool(build.apply_async, (command,))
        return JSONResponse({"id": sent.id, "status": "queued"}, 202)

    async def show(request: Request) -> JSONResponse:
        build_id = request.path_params["id"]
        found = await results.get(f"celery-task-meta-{build_id}")
        return JSONResponse({"id": build_id, **_result(found)})

    async def cancel(request: Request) -> JSONResponse:
        build_id = request.path_params["id"]
        await run_in_threadpool(celery.control.revoke, build_id, terminate=True, signal="SIGUSR1")
        return JSONResponse({"id": build_id}, 202)

    return Starlette(
        routes=[
            Route("/builds", submit, methods=["POST"]),
            Route("/builds/{id}", show),
            Route("/builds/{id}/cancel", cancel, methods=["POST"]),
        ]
    )


def _result(found: bytes | str | None) -> dict[str, Any]:
    if found is None:
        return {"status": "queued"}
    done: dict[str, Any] = json.loads(found)
    result: dict[str, Any] = done["result"]
    return result if done["status"] == "SUCCESS" else {"status": "cancelled"}


class Plain:
    """Redis, the API and a worker with two slots, each a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.redis = RedisProcess(folder)
        self._port = free_port()
        self.api_url = f"http://127.0.0.1:{self._port}"
        env = {**os.environ, _REDIS: self.redis.url}
        me = [sys.executable, "-m"]
        self.api = Part(
            "api", [*me, "benchmarks.plain", str(self._port)], env, folder / "api.log", fork=False
        )
        self.worker = Part(
            "worker",
            [*me, "celery", "--app", "benchmarks.plain", "worker", "--concurrency", "2",
             "--loglevel", "info"],
            env,
            folder / "worker.log",
            fork=False,
        )  # fmt: skip


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Plain]:
    plain = Plain(folder)

    def listens() -> bool:
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(plain.api_url).status_code > 0
        return False

    try:
        plain.api.start()
        plain.worker.start()
        wait_until("the plain API listens", listens)
        wait_until("the plain worker is ready", lambda: " ready." in plain.worker.output())
        yield plain
    finally:
        plain.worker.stop()
        plain.api.stop()
        plain.redis.stop()


if __name__ == "__main__":
    app = api(os.environ[_REDIS])
    uvicorn.run(app, port=int(sys.argv[1]), log_level="error", access_log=False)
