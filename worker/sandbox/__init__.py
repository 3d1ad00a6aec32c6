"""Where a build's commands run: the seam, and the sandboxes that fill it.

One `Sandbox` serves a worker process; `start` is called from the thread that will wait for the
process, one command at a time. What `start` returns must be closed; `close` may be called at any
time, from that thread, more than once, and after it no process of the command is left.
"""

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What one command may use; enforced by rlimits on every process in it."""

    memory_bytes: int
    processes: int
    file_bytes: int
    open_files: int = 4096


@dataclass(frozen=True, kw_only=True, slots=True)
class Workspace:
    """The directories of one attempt, made by the sandbox, owned by whom the build runs as.

    `root` is on the host. Inside the sandbox, a build sees the three directories at the paths of
    `inside`, which differ from the host's where the sandbox has a file system of its own.
    """

    root: Path
    inside: Path

    @property
    def source(self) -> Path:
        return self.inside / "source"

    @property
    def home(self) -> Path:
        return self.inside / "home"

    @property
    def tmp(self) -> Path:
        return self.inside / "tmp"


class Proxy(Protocol):
    """Listens in a command's own network, and lets some through."""

    @property
    def ports(self) -> Sequence[int]:
        """Where it wants to stand there."""
        ...

    def adopt(self, listeners: Sequence[socket.socket]) -> None:
        """Take the sockets that listen there, one for each of `ports`."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Command:
    """A program to run in a sandbox.

    `env` is the whole environment. `script`, where given, is written where only this build can read
    it and its path appended to `argv`. `network` is whether it has this host's; `proxy` is its only
    way out, where the sandbox isolates. `readable` are host paths that it may read beside the
    system (a local repository, a deploy key).
    """

    argv: Sequence[str]
    env: Mapping[str, str] = field(repr=False)
    cwd: Path
    script: str | None = field(default=None, repr=False)
    network: bool = False
    proxy: Proxy | None = None
    readable: Sequence[Path] = ()


class Process(Protocol):
    """A command that was started, with everything that it starts."""

    @property
    def output(self) -> int:
        """The read end of a pipe that carries stdout and stderr, in order; the caller closes it."""
        ...

    def wait(self, timeout: float) -> int | None:
        """The exit status of the command's first process (128 + n for signal n), or None when it
        still runs after `timeout` seconds. Raises `SandboxFailed` when the status was lost."""
        ...

    def terminate(self) -> None:
        """Send SIGTERM to every process of the command; returns at once."""
        ...

    def close(self) -> None:
        """SIGKILL whatever is left, and return when all of it is gone."""
        ...


class Sandbox(Protocol):
    """A way of running untrusted commands."""

    name: str
    isolates: bool  #: whether a command without the network has none

    def workspace(self, name: str) -> Workspace:
        """Make an empty workspace. Raises `SandboxFailed`."""
        ...

    def start(self, command: Command, workspace: Workspace) -> Process:
        """Start a command. Raises `SandboxFailed` when the sandbox itself is at fault."""
        ...

    def remove(self, workspace: Workspace) -> None:
        """Delete a workspace whatever the build did to its permissions; safe to call twice."""
        ...

    def close(self) -> None:
        """Let go of what helps this process to start commands; the next `start` has it again. No
        command runs meanwhile."""
        ...
