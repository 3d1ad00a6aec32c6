"""The `process` sandbox: a command under a supervisor of its own, and no walls around it.

What it gives: the command has only the environment that it was given, no other file descriptor,
resource limits, and no way to gain privileges; and all that it starts, daemons included, is gone
after `close`, after its first process has ended, and after the worker was killed, by whatever means
(`supervisor.py` says how).

What it cannot promise:

- **Files**: a command reads whatever its user may read on this host.
- **Network**: `Command.network` has no effect. A command reaches what this host reaches, its
  loopback interface included.
- **Other builds**: all builds run as one user, so that those running at the same time can read and
  change each other's workspaces, and signal each other's processes.
- **The supervisor, unless the worker is root**: builds run as the worker's own user then. They can
  kill their supervisor, and what has left its session by then stays; they can kill the worker; and
  they read what the worker's user may read, apart from processes that have called
  `hide_this_process`.
- **Limits**: memory is limited for each process, not for all together. `processes` counts what the
  user runs on this host, on top of what it ran when the command began; builds that run at the same
  time therefore use up each other's allowance.

So it is for development, for trusted builds, or for a worker that has a container to itself.
"""

import contextlib
import os
import select
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from worker.errors import SandboxFailed
from worker.sandbox import Command, Limits, Process, Workspace, tree
from worker.sandbox.child import SIGNALLED, Child
from worker.sandbox.pipes import pipe
from worker.sandbox.rlimits import rlimits
from worker.sandbox.user import BuildUser
from worker.sandbox.workspaces import Workspaces

_SUPERVISOR: Final = Path(__file__).with_name("supervisor.py")

#: Seconds for the supervisor to come up; it takes about 0.03 on an idle machine.
_START: Final = 30.0
#: Seconds for killed processes to be gone, before the worker steps in itself and then gives up.
_END: Final = 30.0


class ProcessSandbox:
    """Implements `Sandbox`."""

    name = "process"
    isolates = False

    def __init__(self, limits: Limits, workspaces: Workspaces) -> None:
        self._workspaces = workspaces
        self._limits = rlimits(limits)

    def workspace(self, name: str) -> Workspace:
        root = self._workspaces.make(name)
        return Workspace(root=root, inside=root)

    def start(self, command: Command, workspace: Workspace) -> Process:
        argv = list(command.argv)
        if command.script is not None:
            name = self._workspaces.write_script(workspace.root, command.script)
            argv.append(str(workspace.inside / name))
        with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
            output, their_output = pipe(ours, theirs)
            status, their_status = pipe(ours, theirs)
            their_control, control = pipe(theirs, ours)
            try:
                popen = subprocess.Popen(
                    [
                        sys.executable, "-I", "-S", str(_SUPERVISOR),
                        str(their_control), str(their_status),
                    ],
                    stdin=subprocess.DEVNULL, stdout=their_output, stderr=their_output,
                    env={}, cwd="/", pass_fds=(their_control, their_status),
                    start_new_session=True,
                )  # fmt: skip
            except OSError as error:
                raise SandboxFailed(f"cannot start the supervisor: {error}") from error
            theirs.close()
            supervised = Supervised(Child(popen), output=output, control=control, status=status)
            ours.pop_all()
        try:
            supervised.begin(self._request(argv, command))
        except BaseException:
            supervised.close()
            os.close(output)
            raise
        return supervised

    def remove(self, workspace: Workspace) -> None:
        self._workspaces.remove(workspace.root)

    def _request(self, argv: Sequence[str], command: Command) -> bytes:
        user: BuildUser = self._workspaces.user
        numbers = (
            user.uid if user.other else -1,
            user.gid if user.other else -1,
            self._limits.data,
            self._limits.processes,
            self._limits.file_size,
            self._limits.open_files,
        )
        fields = [
            str(command.cwd),
            " ".join(map(str, numbers)),
            str(len(argv)),
            *argv,
            *(f"{name}={value}" for name, value in command.env.items()),
        ]
        return b"\0".join(os.fsencode(field) for field in fields)


class Supervised:
    """Implements `Process`: the worker's end of the pipes to a supervisor."""

    def __init__(self, child: Child, *, output: int, control: int, status: int) -> None:
        self._child = child
        self._output = output
        self._control = control
        self._closed = False
        self._status = status
        self._said = b""
        self._exit: int | None = None

    @property
    def output(self) -> int:
        return self._output

    def begin(self, request: bytes) -> None:
        """Hand the command over; returns when it runs. Raises `SandboxFailed`."""
        try:
            with os.fdopen(self._control, "wb", buffering=0, closefd=False) as control:
                rest = memoryview(len(request).to_bytes(4, "big") + request)
                while rest:
                    rest = rest[control.write(rest) :]
        except BrokenPipeError as error:
            raise SandboxFailed("the supervisor ended early") from error
        poll = select.poll()
        poll.register(self._status, select.POLLIN)
        if not poll.poll(_START * 1000):
            raise SandboxFailed(f"the supervisor did not start in {_START:g} s")
        # One line is one write of less than PIPE_BUF bytes: it comes whole, maybe with the next.
        self._said = os.read(self._status, 4096)
        if not self._said.startswith(b"began\n"):
            why = self._said.decode(errors="replace").removeprefix("failed ").strip()
            raise SandboxFailed(f"the command could not be started: {why or 'no reason given'}")

    def wait(self, timeout: float) -> int | None:
        """As in `Process`; the supervisor ends when nothing of the command is left. Raises
        `SandboxFailed` when it was killed."""
        if self._exit is None and not self._closed and self._child.wait(timeout) is not None:
            self._exit = self._reported()
            if self._exit is None:
                raise SandboxFailed("the supervisor was killed")
        return self._exit

    def terminate(self) -> None:
        if not self._closed:
            with contextlib.suppress(BrokenPipeError):
                os.write(self._control, b"T")

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        os.close(self._control)
        # A build of the same user may have stopped its supervisor.
        self._child.signal(signal.SIGCONT)
        if self._child.wait(_END) is None:
            tree.kill(self._child.pid)
            self._child.signal(signal.SIGKILL)
            if self._child.wait(_END) is None:
                raise SandboxFailed(f"the command could not be ended in {2 * _END:g} s")
        if self._exit is None:
            reported = self._reported()
            self._exit = SIGNALLED + signal.SIGKILL if reported is None else reported
        os.close(self._status)
        self._child.release()

    def _reported(self) -> int | None:
        """The exit status that the supervisor, which has ended, wrote down; None if it did not."""
        while more := os.read(self._status, 4096):
            self._said += more
        _, found, status = self._said.partition(b"exit ")
        return int(status) if found else None
