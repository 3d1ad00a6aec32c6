"""`Launcher` starts a worker's commands through a small process that runs `launcher.py`."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from worker.errors import SandboxFailed
from worker.sandbox.child import Child
from worker.sandbox.user import BuildUser

_PROGRAM: Final = Path(__file__).with_name("launcher.py")

#: Seconds for an answer; it takes about 0.001, and the first one 0.05, on an idle machine.
_ANSWER_TIMEOUT: Final = 30.0


class Launcher:
    """A `Launcher` starts processes as children of a launcher process, made when first needed.

    Safe to use from several threads. A process that is forked from this one starts its own.
    """

    def __init__(self, limits: Mapping[int, int] | None = None) -> None:
        """Give `limits`, by their numbers (setrlimit(2)), as soft and hard limit to all processes
        that it starts."""
        self._limits = " ".join(f"{which} {value}" for which, value in (limits or {}).items())
        self._lock = threading.Lock()
        self._owner = 0
        self._socket: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def execute(self, argv: Sequence[str], user: BuildUser, descriptors: Sequence[int]) -> Child:
        """Start the program `argv[0]`, a path, as `user`, with no environment.

        The program gets `descriptors` as 0, 1 and 2, 3, 4, …, except the last one, to which the
        launcher writes `exit <status>` at the program's end. The caller keeps its own descriptors.
        Raises `SandboxFailed`.
        """
        identity = (str(user.uid), str(user.gid)) if user.other else ("-1", "-1")
        return self._start(["exec", *identity, *argv], descriptors)

    def supervise(self, *, output: int, control: int, status: int) -> Child:
        """Start a supervisor (`supervisor.py`) with its ends of three pipes to the worker.

        `output` and `status` are write ends, `control` a read end. Raises `SandboxFailed`.
        """
        return self._start(["supervise"], [output, control, status])

    def listen(self, pid: int, ports: Sequence[int]) -> list[socket.socket]:
        """Listen on `ports` of 127.0.0.1 in the network of the process `pid`; return the sockets.

        Raises `OSError`, `SandboxFailed`.
        """
        ours, theirs = socket.socketpair()
        with ours:
            ours.settimeout(_ANSWER_TIMEOUT)
            with theirs:
                numbers = map(str, (pid, *ports))
                self._start(["listen", *numbers], [theirs.fileno()]).release()
            reply, descriptors, _, _ = socket.recv_fds(
                ours, 4096, len(ports), socket.MSG_CMSG_CLOEXEC
            )
        found = [socket.socket(fileno=each) for each in descriptors]
        if len(found) != len(ports):
            for each in found:
                each.close()
            raise OSError(reply.decode(errors="replace") or "nobody listens")
        return found

    def close(self) -> None:
        """End the launcher process; the next call starts another one. Safe to call twice."""
        with self._lock:
            self._drop()

    def _start(self, fields: Sequence[str], descriptors: Sequence[int]) -> Child:
        message = b"\0".join(map(os.fsencode, fields))
        with self._lock:
            try:
                launcher = self._send(message, descriptors)
                reply, found, _, _ = socket.recv_fds(launcher, 4096, 1, socket.MSG_CMSG_CLOEXEC)
            except OSError as error:
                self._drop()
                raise SandboxFailed(f"the launcher does not answer: {error}") from error
            if not found:
                why = reply.decode(errors="replace").removeprefix("failed ")
                raise SandboxFailed(f"the command cannot be started: {why or 'no launcher'}")
        return Child(int(reply.removeprefix(b"started ")), found[0])

    def _send(self, message: bytes, descriptors: Sequence[int]) -> socket.socket:
        """Send a message, to a new launcher if need be; return its socket. Raises `OSError`."""
        if self._socket is not None and self._owner == os.getpid():
            try:
                socket.send_fds(self._socket, [message], list(descriptors))
            except (BrokenPipeError, ConnectionError):
                pass  # a build of the same user has killed it, and the message was not read
            else:
                return self._socket
        launcher = self._spawn()
        socket.send_fds(launcher, [message], list(descriptors))
        return launcher

    def _spawn(self) -> socket.socket:
        self._drop()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_PROGRAM), str(theirs.fileno()), self._limits],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env={}, cwd="/",
                pass_fds=(theirs.fileno(),), start_new_session=True,
            )  # fmt: skip
        ours.settimeout(_ANSWER_TIMEOUT)
        self._socket, self._owner = ours, os.getpid()
        return ours

    def _drop(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        process, self._process = self._process, None
        if process is not None and self._owner == os.getpid():
            process.kill()
            process.wait()
