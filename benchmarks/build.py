"""What a build costs beside plain Celery: time, builds per second, work, and how soon it is gone.

    python -m benchmarks.build [--only e2e rate cancel] [--sandbox bubblewrap process]
                               [--profile DIR]

Builds that do nothing (`true`) go the whole way, Redis, issuer, API and a worker with two slots,
with the settings that Baton has by default, and the same command goes through `benchmarks/plain.py`
in turns, in one run. The client of both is the same: it submits, and asks for the build until it
has ended.

- `e2e`: one build at a time, from submit to the result seen by the client;
- `rate`: 200 builds submitted at once, until the last result is seen, and what each part has worked
  for that: the processes' own time and that of all that they started;
- `cancel`: a build that prints nothing (`sleep 600`), from the cancel to its last process gone.

`--profile` writes what py-spy (`pip install py-spy`) sees of the API and the worker while `rate` is
measured. Absolute numbers are this machine's; the ratios are what to look at.
"""

import argparse
import asyncio
import contextlib
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlsplit

from benchmarks import plain
from benchmarks.processes import cpu, runs, tree
from tests.support.stack import ExecutedStack, Part, Stack

MEASURES: Final = ("e2e", "rate", "cancel")
SANDBOXES: Final = ("bubblewrap", "process")
SLOTS: Final = 2
AT_ONCE: Final = 200
_CONNECTIONS: Final = 16
_POLL: Final = 0.002  #: seconds between two questions for one build
_POLL_MANY: Final = 0.02
_GONE: Final = 60.0  #: seconds in which a cancelled build must have ended
_FINAL: Final = {"succeeded", "failed", "errored", "timed_out", "cancelled"}

#: What `tests.support.stack` makes shorter for tests, as it is by default.
_DEFAULTS: Final = {
    "BATON_LEASE": "30",
    "BATON_KILL_GRACE": "10",
    "BATON_REPORT_WINDOW": "900",
    "BATON_QUEUE_TTL": "600",
    "BATON_MAX_BUILD_TIMEOUT": "7200",
}


class Connection:
    """One kept-alive connection, cheap enough to leave the servers their cores."""

    def __init__(self, url: str, token: str) -> None:
        self._to = urlsplit(url)
        self._head = f"Host: {self._to.netloc}\r\nAuthorization: Bearer {token}\r\n"

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection(self._to.hostname, self._to.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()
        await self._writer.wait_closed()

    async def call(self, method: str, path: str, body: object = None) -> Any:
        content = b"" if body is None else json.dumps(body).encode()
        head = (
            f"{method} {path} HTTP/1.1\r\n{self._head}Content-Type: application/json\r\n"
            f"Content-Length: {len(content)}\r\n\r\n"
        )
        self._writer.write(head.encode() + content)
        answer = await self._reader.readuntil(b"\r\n\r\n")
        length = int(answer.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        text = await self._reader.readexactly(length)
        assert answer[9:10] == b"2", (method, path, answer, text)
        return json.loads(text)


@dataclass(frozen=True, kw_only=True)
class Service:
    """Something that builds."""

    url: str
    token: str
    spec: Callable[[str], Any]  #: what is posted to run a command
    parts: Mapping[str, int]  #: process ids by name

    def connect(self) -> Connection:
        return Connection(self.url, self.token)

    async def submit(self, connection: Connection, command: str) -> str:
        build: dict[str, str] = await connection.call("POST", "/builds", self.spec(command))
        return build["id"]

    def worked(self) -> dict[str, float]:
        """Seconds of a core that each part has used so far."""
        return {name: cpu(pid) for name, pid in self.parts.items()}


async def ended(connection: Connection, build_id: str, *, every: float) -> str:
    """Ask until the build has ended; returns how."""
    while True:
        build = await connection.call("GET", f"/builds/{build_id}")
        if build["status"] in _FINAL:
            return str(build["status"])
        await asyncio.sleep(every)


# ── the measurements ──────────────────────────────────────────────────────────────────────────────


@dataclass
class Found:
    """What was measured of one service."""

    times: list[float] = field(default_factory=list)  #: seconds, one build at a time
    rates: list[float] = field(default_factory=list)  #: builds per second
    work: list[dict[str, float]] = field(default_factory=list)  #: seconds for a build, by part
    cancels: list[float] = field(default_factory=list)  #: seconds

    def rows(self) -> dict[str, float]:
        rows = {}
        if self.times:
            rows["end to end, median, ms"] = statistics.median(self.times) * 1e3
            rows["end to end, p99, ms"] = p99(self.times) * 1e3
        if self.rates:
            rows["builds/s"] = statistics.median(self.rates)
            rows["CPU a build, ms"] = statistics.median(sum(w.values()) for w in self.work) * 1e3
            for part in self.work[0]:
                rows[f"    {part}"] = statistics.median(w[part] for w in self.work) * 1e3
        if self.cancels:
            rows["cancel, median, ms"] = statistics.median(self.cancels) * 1e3
            rows["cancel, p99, ms"] = p99(self.cancels) * 1e3
        return rows


def p99(times: Sequence[float]) -> float:
    return sorted(times)[len(times) * 99 // 100]


async def one_build(service: Service, found: Found) -> None:
    async with service.connect() as connection:
        begun = time.perf_counter()
        build_id = await service.submit(connection, "true")
        status = await ended(connection, build_id, every=_POLL)
        found.times.append(time.perf_counter() - begun)
    assert status == "succeeded", status


async def many_builds(service: Service, found: Found, number: int = AT_ONCE) -> None:
    """All at once, and what each part works for them."""
    before = service.worked()
    begun = time.perf_counter()
    async with contextlib.AsyncExitStack() as opened:
        connections = [
            await opened.enter_async_context(service.connect()) for _ in range(_CONNECTIONS)
        ]
        ids: list[str] = []
        left = iter(range(number))

        async def submit(connection: Connection) -> None:
            ids.extend([await service.submit(connection, "true") for _ in left])

        await asyncio.gather(*map(submit, connections))
        for build_id in ids:
            assert await ended(connections[0], build_id, every=_POLL_MANY) == "succeeded"
    found.rates.append(number / (time.perf_counter() - begun))
    after = service.worked()
    found.work.append({name: (after[name] - before[name]) / number for name in before})


async def one_cancel(service: Service, found: Found, *, after: float) -> None:
    """`after`: seconds between the command's start and the cancel."""
    worker = service.parts["worker"]
    there = {process.pid for process in tree(worker)}
    async with service.connect() as connection:
        build_id = await service.submit(connection, "sleep 600")
        end = time.monotonic() + 30
        while not any(_sleeps(process.pid) for process in tree(worker)):
            assert time.monotonic() < end, "the command has not started"
            await asyncio.sleep(0.01)
        await asyncio.sleep(after)
        its = [process for process in tree(worker) if process.pid not in there]
        begun = time.perf_counter()
        await connection.call("POST", f"/builds/{build_id}/cancel")
    while left := [process for process in its if runs(process)]:
        assert time.perf_counter() < begun + _GONE, f"still there: {left}"
        await asyncio.sleep(0.002)
    found.cancels.append(time.perf_counter() - begun)
    async with service.connect() as connection:
        await ended(connection, build_id, every=_POLL_MANY)


def _sleeps(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes() == b"sleep\x00600\x00"
    return False


async def measure(services: Mapping[str, Service], options: argparse.Namespace) -> dict[str, Found]:
    """All services in turns."""
    found = {name: Found() for name in services}
    for service in services.values():  # what only the first ones cost
        await many_builds(service, Found(), 20)
    for _ in range(options.builds if "e2e" in options.only else 0):
        for name, service in services.items():
            await one_build(service, found[name])
    for _ in range(options.rounds if "rate" in options.only else 0):
        for name, service in services.items():
            with profiles(service, options.profile if name == "baton" else None):
                await many_builds(service, found[name])
    for number in range(options.cancels if "cancel" in options.only else 0):
        for name, service in services.items():
            await one_cancel(service, found[name], after=0.2 + number % 10 / 10)
    return found


@contextlib.contextmanager
def profiles(service: Service, folder: Path | None) -> Iterator[None]:
    """py-spy looks at the API and the worker while this lasts, if there is a folder for it."""
    if folder is None:
        yield
        return
    spy = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or shutil.which("py-spy")
    if not spy:
        sys.exit("--profile needs py-spy: pip install py-spy")
    folder.mkdir(parents=True, exist_ok=True)
    running = [
        subprocess.Popen(
            [spy, "record", "--pid", str(service.parts[part]), "--subprocesses", "--rate", "200",
             "--duration", "3600", "--format", form, "--output", str(folder / f"{part}.{end}")],
            stdout=subprocess.DEVNULL,
        )
        for part in ("api", "worker")
        for form, end in (("raw", "txt"), ("flamegraph", "svg"))
    ]  # fmt: skip
    try:
        yield
    finally:
        for process in running:
            process.send_signal(2)  # it writes what it has
        for process in running:
            process.wait()


# ── the services ──────────────────────────────────────────────────────────────────────────────────


def of_baton(stack: Stack, worker: Part) -> Service:
    return Service(
        url=stack.api_url,
        token=stack.token(),
        spec=lambda command: {"steps": [{"name": "step", "run": command}]},
        parts={
            "api": stack.api.pid,
            "worker": worker.pid,
            "redis": stack.redis.pid,
            "issuer": stack.issuer.pid,
        },
    )


def of_plain(other: plain.Plain) -> Service:
    return Service(
        url=other.api_url,
        token="none",
        spec=lambda command: {"command": command},
        parts={
            "api": other.api.pid,
            "worker": other.worker.pid,
            "redis": other.redis.pid,
        },
    )


def report(sandbox: str, baton: Found, celery: Found) -> None:
    theirs = celery.rows()
    print(f"\n{sandbox:32}{'baton':>9}{'celery':>9}{'ratio':>9}")
    for name, value in baton.rows().items():
        if name in theirs:
            ratio = value / theirs[name] if theirs[name] else float("nan")
            print(f"{name:32}{value:9.1f}{theirs[name]:9.1f}{ratio:9.2f}")
        else:
            print(f"{name:32}{value:9.1f}")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=MEASURES, default=MEASURES)
    parser.add_argument("--sandbox", nargs="+", choices=SANDBOXES, default=SANDBOXES)
    parser.add_argument("--builds", type=int, default=100, help="one at a time")
    parser.add_argument("--rounds", type=int, default=2, help=f"of {AT_ONCE} builds at once")
    parser.add_argument("--cancels", type=int, default=30)
    parser.add_argument("--profile", type=Path, metavar="DIR")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as ours,
        tempfile.TemporaryDirectory() as theirs,
        ExecutedStack(Path(ours), **_DEFAULTS) as stack,
        plain.running(Path(theirs)) as other,
    ):
        print(f"builds that do nothing, {SLOTS} slots; beside plain Celery in the same run")
        for sandbox in options.sandbox:
            worker = stack.worker(concurrency=SLOTS, BATON_SANDBOX=sandbox)
            services = {"baton": of_baton(stack, worker), "celery": of_plain(other)}
            found = asyncio.run(measure(services, options))
            worker.stop()
            report(sandbox, found["baton"], found["celery"])


if __name__ == "__main__":
    main()
