"""How fast one API process accepts builds, beside the bare limit and beside plain Celery.

    python -m benchmarks.submit [--seconds 1] [--rounds 15]

Three servers, each one process of the same uvicorn and Starlette with the same Redis, get the same
requests in turns, in one run:

- `baton`: the real API: every check, the spec validated, on record and in the queue of its user;
- `bare`: verifies the RS256 token and makes one Redis transaction, nothing else;
- `celery`: verifies the token and calls `apply_async`, as a handler without Baton would.

Absolute numbers are this machine's; the ratios are what to look at. Each is the middle one of the
ratios of single rounds, in which the servers follow each other within seconds: whatever else the
machine does, it does to all of them. The processor time is that of the server and of Redis, for
each request that was accepted; it hardly depends on what else there is.
"""

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import jwt
import redis.asyncio
import uvicorn
from celery import Celery
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from app.contract.sealing import new_key
from benchmarks.load import load
from benchmarks.processes import cpu
from tests.support.providers.authority import AUDIENCE, Authority
from tests.support.servers.redis_process import RedisProcess, free_port
from tests.support.waiting import wait_until

SERVERS = ("bare", "baton", "celery")
SPEC = {"steps": [{"name": "test", "run": "make test"}], "labels": {"pr": "17"}}


def bare_app(redis_url: str, issuer: str) -> Starlette:
    """What every API of this kind must do at the least."""
    key = _key(issuer)
    client = redis.asyncio.Redis.from_url(redis_url)

    async def submit(request: Request) -> JSONResponse:
        claims = _verified(request, key, issuer)
        body = await request.body()
        async with client.pipeline(transaction=True) as pipe:
            pipe.hset("bare", mapping={"owner": claims["sub"], "spec": body})
            pipe.zadd("bare:queue", {"bare": 0})
            await pipe.execute()
        return JSONResponse({"id": "bare"}, 202)

    return Starlette(routes=[Route("/builds", submit, methods=["POST"])])


def celery_app(redis_url: str, issuer: str) -> Starlette:
    """A handler that queues with Celery itself."""
    key = _key(issuer)
    app = Celery("plain", broker=redis_url)
    app.conf.task_ignore_result = True

    @app.task(name="plain.build")
    def build(spec: dict[str, Any]) -> None:
        """Sent by this benchmark, run by nobody."""

    async def submit(request: Request) -> JSONResponse:
        _verified(request, key, issuer)
        spec = json.loads(await request.body())
        sent = await run_in_threadpool(build.apply_async, (spec,))
        return JSONResponse({"id": sent.id}, 202)

    return Starlette(routes=[Route("/builds", submit, methods=["POST"])])


def _key(issuer: str) -> Any:
    return jwt.PyJWK(httpx.get(f"{issuer}.well-known/jwks.json").json()["keys"][0]).key


def _verified(request: Request, key: Any, issuer: str) -> dict[str, Any]:
    token = request.headers["authorization"].removeprefix("Bearer ")
    claims: dict[str, Any] = jwt.decode(
        token, key, algorithms=["RS256"], audience=AUDIENCE, issuer=issuer
    )
    assert "create:builds" in claims["scope"].split()
    return claims


def serve(name: str, port: int, redis_url: str, issuer: str) -> None:
    app = {"bare": bare_app, "celery": celery_app}[name](redis_url, issuer)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="error", access_log=False)


@dataclass(frozen=True, kw_only=True)
class Server:
    port: int
    pid: int


@dataclass(frozen=True, kw_only=True)
class Round:
    """What one server did in one round."""

    per_second: float
    own: float  #: seconds of processor time of the server, for each request
    redis: float


@contextlib.contextmanager
def running(name: str, redis_url: str, issuer: str) -> Iterator[Server]:
    """One server in a process of its own."""
    port = free_port()
    if name == "baton":
        argv = [str(Path(sys.executable).parent / "baton"), "api"]
    else:
        argv = [sys.executable, "-m", "benchmarks.submit", "--serve", name, str(port)]
    env = os.environ | {
        "BATON_REDIS_URL": redis_url,
        "BATON_ISSUER": issuer,
        "BATON_AUDIENCE": AUDIENCE,
        "BATON_MINT_CLIENT_SECRET": "secret",
        "BATON_MESSAGE_KEYS": new_key(),
        "BATON_PORT": str(port),
        # Counted as ever, and never refused.
        "BATON_RATE_PER_USER": "100000000/minute",
        "BATON_USER_QUEUE": "1000000000",
    }
    process = subprocess.Popen(argv, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def listens() -> bool:
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"http://127.0.0.1:{port}/").status_code > 0
        return False

    try:
        wait_until(f"{name} listens", listens)
        yield Server(port=port, pid=process.pid)
    finally:
        process.terminate()
        process.wait()


def request_of(authority: Authority) -> bytes:
    body = json.dumps(SPEC).encode()
    token = authority.sign(authority.user_claims())
    return (
        b"POST /builds HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Authorization: Bearer %b\r\nContent-Length: %d\r\n\r\n%b"
        % (token.encode(), len(body), body)
    )


def measure(*, seconds: float, rounds: int, connections: int) -> dict[str, list[Round]]:
    found: dict[str, list[Round]] = {name: [] for name in SERVERS}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        store = stack.enter_context(RedisProcess(folder))
        authority = stack.enter_context(Authority())
        servers = {
            name: stack.enter_context(running(name, store.url, authority.issuer))
            for name in SERVERS
        }
        request = request_of(authority)
        for number in range(rounds + 1):
            for name, server in servers.items():
                own, shared = cpu(server.pid), cpu(store.pid)
                outcome = asyncio.run(
                    load("127.0.0.1", server.port, request, connections=connections,
                         seconds=seconds)
                )  # fmt: skip
                assert set(outcome.statuses) == {202}, (name, outcome.statuses)
                accepted = outcome.statuses[202]
                if number:  # the first round warms up
                    found[name].append(
                        Round(
                            per_second=outcome.per_second,
                            own=(cpu(server.pid) - own) / accepted,
                            redis=(cpu(store.pid) - shared) / accepted,
                        )
                    )
                time.sleep(0.2)
    return found


def report(found: dict[str, list[Round]]) -> None:
    print("                              processor, ms/request")
    print(f"{'server':8} {'accepted/s':>12} {'of bare':>9} {'server':>9} {'Redis':>9}")
    for name, rounds in found.items():
        ratios = [
            one.per_second / bare.per_second
            for one, bare in zip(rounds, found["bare"], strict=True)
        ]
        print(
            f"{name:8} {statistics.median(one.per_second for one in rounds):12.0f} "
            f"{statistics.median(ratios):9.2f} "
            f"{1000 * statistics.median(one.own for one in rounds):9.2f} "
            f"{1000 * statistics.median(one.redis for one in rounds):9.2f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=1, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--serve", nargs=2, metavar=("NAME", "PORT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        name, port = options.serve
        redis_url, issuer = os.environ["BATON_REDIS_URL"], os.environ["BATON_ISSUER"]
        assert urlsplit(issuer).hostname == "127.0.0.1"
        serve(name, int(port), redis_url, issuer)
        return
    report(measure(seconds=options.seconds, rounds=options.rounds, connections=options.connections))


if __name__ == "__main__":
    main()
