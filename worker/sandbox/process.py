"""The `process` sandbox runs a command under a supervisor of its own, without isolation.

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
import signal
from collections.abc import Sequence
from typing import Final

from worker.errors import SandboxFailed
from worker.sandbox import Command, Limits, Process, Workspace, tree
from worker.sandbox.child import SIGNALLED, Child, ExitStatus
from worker.sandbox.launch import Launcher
from worker.sandbox.pipes import pipe
from worker.sandbox.rlimits import rlimits
from worker.sandbox.user import BuildUser
from worker.sandbox.workspaces import Workspaces

#: Seconds for the supervisor to come up; it takes about 0.001 on an idle machine.
_START_TIMEOUT: Final = 30.0
#: Seconds for killed processes to be gone, before the worker kills them itself, and again before it
#: gives up.
_END_TIMEOUT: Final = 30.0


class ProcessSandbox:
    """`ProcessSandbox` implements `Sandbox`."""

    name = "process"
    isolates = False

    def __init__(self, limits: Limits, workspaces: Workspaces) -> None:
        self._workspaces = workspaces
        self._limits = rlimits(limits)
        self._launcher = Launcher()

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
            child = self._launcher.supervise(
                output=their_output, control=their_control, status=their_status
            )
            theirs.close()
            supervised = Supervised(child, output=output, control=control, status=status)
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

    def close(self) -> None:
        self._launcher.close()

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
    """`Supervised` implements `Process` with the worker's ends of the pipes to a supervisor."""

    def __init__(self, child: Child, *, output: int, control: int, status: int) -> None:
        self._child = child
        self._output = output
        self._control = control
        self._closed = False
        self._status = ExitStatus(status)
        self._exit: int | None = None

    @property
    def output(self) -> int:
        return self._output

    def begin(self, request: bytes) -> None:
        """Send the command to the supervisor, and return when it runs; call once, first.

        Raises `SandboxFailed`.
        """
        try:
            with os.fdopen(self._control, "wb", buffering=0, closefd=False) as control:
                rest = memoryview(len(request).to_bytes(4, "big") + request)
                while rest:
                    rest = rest[control.write(rest) :]
        except BrokenPipeError as error:
            raise SandboxFailed("the supervisor ended early") from error
        lines = self._status.first_lines(_START_TIMEOUT)
        if not lines:
            raise SandboxFailed("the supervisor did not start")
        if not lines.startswith(b"began\n"):
            why = lines.decode(errors="replace").removeprefix("failed ").strip()
            raise SandboxFailed(f"the command could not be started: {why or 'no reason given'}")

    def wait(self, timeout: float) -> int | None:
        """Wait as in `Process`; the supervisor ends when no process of the command is left.

        Raises `SandboxFailed` when the supervisor was killed.
        """
        if self._exit is None and not self._closed and self._child.ended(timeout):
            self._exit = self._status.read(_END_TIMEOUT)
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
        if not self._child.ended(_END_TIMEOUT):
            tree.kill(self._child.pid)
            self._child.signal(signal.SIGKILL)
            if not self._child.ended(_END_TIMEOUT):
                raise SandboxFailed(f"the command could not be ended in {2 * _END_TIMEOUT:g} s")
        if self._exit is None:
            reported = self._status.read(_END_TIMEOUT)
            self._exit = SIGNALLED + signal.SIGKILL if reported is None else reported
        self._status.close()
        self._child.release()
