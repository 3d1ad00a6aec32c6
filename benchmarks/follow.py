"""How soon many followers of one build see what its step prints, and what each of them costs.

    python -m benchmarks.follow [--followers 1000] [--seconds 15]

A step prints the time, 20 lines a second. Followers, all of one process, note for each line how
long it took to reach each of them. First the real way: step → worker → API → Redis → API →
followers, with one API process. Then, in the same run, a bare one: the same program's output,
gathered for as long as the worker gathers it, published in Redis, and sent to as many followers by
the least Starlette application that can do it. Memory is what the API process grew by, over the
number of followers; work is how much of a core that process used.

Absolute numbers are this machine's, and the followers share it with all the rest.
"""

import argparse
import asyncio
import contextlib
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx
import redis
import redis.asyncio
import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

from benchmarks.processes import cpu, resident
from tests.support.servers.redis_process import free_port
from tests.support.stack import ExecutedStack, Stack
from tests.support.waiting import wait_until
from worker.log_shipper import LINGER

ME = (sys.executable, "-m", "benchmarks.follow")
CHANNEL = "bare"
PROGRAM = 'while :; do echo "@$(date +%s%N) and what a line says besides"; sleep 0.05; done'
_STAMP = re.compile(rb"@(\d{19})")


@dataclass(frozen=True)
class Measured:
    """Milliseconds from a line's print to a follower, over all lines and followers."""

    lines: int
    median: float
    p99: float
    worst: float


# ── the followers: a process of their own ─────────────────────────────────────────────────────


class Board:
    """Where all followers write down their delays."""

    def __init__(self) -> None:
        self._delays: list[int] = []
        self._since = 2**63
        #: What a piece of a stream holds: it is looked at once for all who get it.
        self._stamps: dict[bytes, list[int]] = {}

    def begin(self) -> None:
        """Lines that are printed from now on count."""
        self._since = time.time_ns()

    def note(self, data: bytes, now: int) -> None:
        stamps = self._stamps.get(data)
        if stamps is None:
            stamps = self._stamps[data] = [int(stamp) for stamp in _STAMP.findall(data)]
        self._delays.extend(now - stamp for stamp in stamps if stamp >= self._since)

    def found(self, number: int) -> Measured:
        delays = sorted(self._delays)
        return Measured(
            lines=len(delays) // number,
            median=delays[len(delays) // 2] / 1e6,
            p99=delays[len(delays) * 99 // 100] / 1e6,
            worst=delays[-1] / 1e6,
        )


class Follower(asyncio.Protocol):
    """One connection; costs its process as little as can be."""

    def __init__(self, request: bytes, board: Board) -> None:
        self._request = request
        self._board = board
        self.opened = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.write(self._request)  # type: ignore[attr-defined]  # uvloop's is no asyncio.Transport

    def data_received(self, data: bytes) -> None:
        now = time.time_ns()
        if not self.opened.done():
            assert data.startswith(b"HTTP/1.1 200"), data
            self.opened.set_result(None)
        self._board.note(data, now)


async def follow(url: str, token: str, number: int, seconds: float) -> None:
    """Say when all listen, then what was measured."""
    where = httpx.URL(url)
    head = f"GET {where.path} HTTP/1.1\r\nHost: {where.host}\r\nAuthorization: Bearer {token}"
    request = f"{head}\r\n\r\n".encode()
    board = Board()
    loop = asyncio.get_running_loop()
    for _ in range(number):
        _, follower = await loop.create_connection(
            lambda: Follower(request, board), where.host, where.port or 80
        )
        await asyncio.wait_for(follower.opened, 30)
    print("all listen", flush=True)
    board.begin()
    await asyncio.sleep(seconds)
    if seconds:
        print(json.dumps(asdict(board.found(number))), flush=True)
    await asyncio.sleep(60)  # who measures what they cost ends them


@contextlib.contextmanager
def followers(
    url: str, token: str, number: int, seconds: float
) -> Iterator["subprocess.Popen[str]"]:
    """So many followers, all of whom listen by now, and measure for so long."""
    argv = [*ME, "--listen", url, "--followers", str(number), "--seconds", str(seconds)]
    env = os.environ | {"TOKEN": token}
    with subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "all listen\n"
            yield process
        finally:
            process.terminate()


# ── the bare endpoint ─────────────────────────────────────────────────────────────────────────


def bare_app(redis_url: str) -> Starlette:
    """One subscription; each message goes to everyone."""
    frames: list[bytes] = []
    news = asyncio.Event()

    async def listen() -> None:
        nonlocal news
        async with redis.asyncio.Redis.from_url(redis_url).pubsub() as pubsub:
            await pubsub.subscribe(CHANNEL)
            async for message in pubsub.listen():
                if message["type"] == "message":
                    told = {"offset": 0, "end": 0, "text": message["data"].decode()}
                    frames.append(f"id: 1\nevent: log\ndata: {json.dumps(told)}\n\n".encode())
                    news, old = asyncio.Event(), news
                    old.set()

    async def content() -> AsyncIterator[bytes]:
        yield b": begin\n\n"
        position = len(frames)
        while True:
            current = news
            while position < len(frames):
                position += 1
                yield frames[position - 1]
            await current.wait()

    async def events(_: Request) -> StreamingResponse:
        return StreamingResponse(content(), media_type="text/event-stream")

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        task = asyncio.create_task(listen())
        yield
        task.cancel()

    return Starlette(routes=[Route("/events", events)], lifespan=lifespan)


@contextlib.contextmanager
def bare_server(redis_url: str) -> Iterator[tuple[int, str]]:
    """Its process id and its URL."""
    port = free_port()
    argv = [*ME, "--bare", redis_url, str(port)]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL) as process:

        def listens() -> bool:
            with contextlib.suppress(httpx.HTTPError):
                return httpx.get(f"http://127.0.0.1:{port}/").status_code > 0
            return False

        try:
            wait_until("the bare server listens", listens)
            yield process.pid, f"http://127.0.0.1:{port}/events"
        finally:
            process.kill()


@contextlib.contextmanager
def publishing(redis_url: str) -> Iterator[None]:
    """The program's output is published, gathered as the worker gathers it, while this lasts."""
    argv = ["sh", "-c", PROGRAM]
    with (
        redis.Redis.from_url(redis_url) as broker,
        subprocess.Popen(argv, stdout=subprocess.PIPE) as process,
    ):
        assert process.stdout
        output = process.stdout.fileno()

        def publish() -> None:
            while piece := os.read(output, 65536):
                broker.publish(CHANNEL, piece)
                time.sleep(LINGER)

        thread = threading.Thread(target=publish)
        thread.start()
        try:
            yield
        finally:
            process.terminate()
            thread.join()


# ── measuring ─────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Row:
    delays: Measured
    memory: float  #: bytes for each follower
    work: float  #: share of a core


def measured(pid: int, url: str, token: str, number: int, seconds: float) -> Row:
    """What followers of `url` measure, and what they cost the process `pid`."""
    with followers(url, token, 10, 0):  # what only the first ones cost
        before = resident(pid)
    with followers(url, token, number, seconds) as listening:
        assert listening.stdout
        begun = cpu(pid)
        found = Measured(**json.loads(listening.stdout.readline()))
        work = (cpu(pid) - begun) / seconds
        return Row(found, (resident(pid) - before) / number, work)


def measure_baton(stack: Stack, number: int, seconds: float) -> Row:
    with stack.http() as http:
        spec = {"steps": [{"name": "print", "run": PROGRAM}]}
        build = http.post("/builds", json=spec).raise_for_status().json()["id"]
        url = f"{stack.api_url}/builds/{build}"
        wait_until("it prints", lambda: "@" in http.get(f"{url}/log").text)
        found = measured(stack.api.pid, f"{url}/events", stack.token(), number, seconds)
        http.post(f"{url}/cancel").raise_for_status()
        wait_until("the build has ended", lambda: http.get(url).json()["status"] == "cancelled")
    return found


def measure_bare(stack: Stack, number: int, seconds: float) -> Row:
    with bare_server(stack.redis.url) as (pid, url), publishing(stack.redis.url):
        return measured(pid, url, "none", number, seconds)


def report(number: int, seconds: float) -> None:
    settings = {
        "BATON_USER_STREAMS": str(number + 100),
        "BATON_MAX_CONNECTIONS": str(number + 300),
        "BATON_LEASE": "30",
    }
    with (
        tempfile.TemporaryDirectory() as folder,
        ExecutedStack(Path(folder), **settings) as stack,
    ):
        stack.worker(concurrency=1)
        baton = measure_baton(stack, number, seconds)
        bare = measure_bare(stack, number, seconds)
    print(f"{number} followers; each line at each of them")
    print(
        f"{'':8}{'lines':>7}{'median ms':>11}{'p99 ms':>8}{'worst ms':>10}"
        f"{'kB a follower':>15}{'work':>7}"
    )
    for name, row in (("baton", baton), ("bare", bare)):
        delays = row.delays
        print(
            f"{name:8}{delays.lines:7}{delays.median:11.0f}{delays.p99:8.0f}{delays.worst:10.0f}"
            f"{row.memory / 1000:15.1f}{row.work:7.0%}"
        )
    print(
        f"{'ratio':15}{baton.delays.median / bare.delays.median:11.2f}"
        f"{baton.delays.p99 / bare.delays.p99:8.2f}{baton.delays.worst / bare.delays.worst:10.2f}"
        f"{baton.memory / bare.memory:15.2f}{baton.work / bare.work:7.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--followers", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--listen", metavar="URL", help=argparse.SUPPRESS)
    parser.add_argument("--bare", nargs=2, metavar=("REDIS", "PORT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 2 * options.followers + 1000), hard))
    if options.listen:
        token = os.environ["TOKEN"]
        uvloop.run(follow(options.listen, token, options.followers, options.seconds))
    elif options.bare:
        redis_url, port = options.bare
        app = bare_app(redis_url)
        uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="error", access_log=False)
    else:
        report(options.followers, options.seconds)


if __name__ == "__main__":
    main()
