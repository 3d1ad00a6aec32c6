"""`Sandbox` is the seam behind which a build's commands run; `choice.py` lists what fills it.

One `Sandbox` serves a pool process; `start` is called from the thread that will wait for the
command, one command at a time. The caller must close the `Process` that `start` returns. `close`
may be called at any time, from that thread, more than once; after it, no process of the command is
left.
"""

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """`Limits` bound what one command may use; rlimits on each of its processes enforce them."""

    memory_bytes: int
    processes: int
    file_bytes: int
    open_files: int = 4096


@dataclass(frozen=True, kw_only=True, slots=True)
class Workspace:
    """A `Workspace` is the directories of one attempt, made by the sandbox for the build's user.

    `root` is its path on the host. `inside` is the path at which the build sees it, which differs
    where the sandbox has a file system of its own.
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
    """A `Proxy` is a command's only way out of its own network (`worker.egress_proxy`)."""

    @property
    def ports(self) -> Sequence[int]:
        """The ports of 127.0.0.1 to listen on in the command's network."""
        ...

    def adopt(self, listeners: Sequence[socket.socket]) -> None:
        """Serve on sockets that listen there, one for each of `ports`; the proxy closes them."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Command:
    """A `Command` is a program to run in a sandbox.

    `env` is the whole environment. `script`, where given, is written to a file that only the
    build's user can read, and its path is appended to `argv`. With `network`, the command shares
    this host's network; without, `proxy` is its only way out, where the sandbox isolates.
    `readable` lists host paths that it may read beside the system's (a local repository, a deploy
    key).
    """

    argv: Sequence[str]
    env: Mapping[str, str] = field(repr=False)
    cwd: Path
    script: str | None = field(default=None, repr=False)
    network: bool = False
    proxy: Proxy | None = None
    readable: Sequence[Path] = ()


class Process(Protocol):
    """A `Process` is a started command, with all processes that it starts."""

    @property
    def output(self) -> int:
        """The read end of a pipe that carries stdout and stderr, in order; the caller closes it."""
        ...

    def wait(self, timeout: float) -> int | None:
        """Wait up to `timeout` seconds for the command's first process to end.

        Returns its exit status (128 + n for signal n), or None when it still runs. Raises
        `SandboxFailed` when the status was lost.
        """
        ...

    def terminate(self) -> None:
        """Send SIGTERM to every process of the command, without waiting."""
        ...

    def close(self) -> None:
        """Send SIGKILL to what is left of the command, and return when all of it is gone.

        Safe to call twice. Raises `SandboxFailed` when a process survives.
        """
        ...


class Sandbox(Protocol):
    """A `Sandbox` runs untrusted commands."""

    name: str
    isolates: bool  #: whether a command without the network has none

    def workspace(self, name: str) -> Workspace:
        """Make an empty workspace, with `name` in its path. Raises `SandboxFailed`."""
        ...

    def start(self, command: Command, workspace: Workspace) -> Process:
        """Start a command. Raises `SandboxFailed` when the sandbox itself is at fault."""
        ...

    def remove(self, workspace: Workspace) -> None:
        """Delete a workspace, whatever the build did to its permissions; safe to call twice.

        Raises `SandboxFailed`.
        """
        ...

    def close(self) -> None:
        """End the helper processes and delete the helper files of this pool process.

        No command may run meanwhile. The next `start` makes them again.
        """
        ...
