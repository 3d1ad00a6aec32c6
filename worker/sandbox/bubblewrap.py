"""The `bubblewrap` sandbox runs each command in its own namespaces, made by an unprivileged bwrap.

A command has no privileges, sees no other process, has no network unless it is given one, and of
the host's files sees only what `root_fs.py` lists. When the worker is root, bwrap itself runs as
the build's user, so that a flaw in bwrap is not a flaw with root's rights.

The chain of processes is: worker → launcher → bwrap → a shell, pid 1 of the namespace → the
command. The kernel kills the namespace when its pid 1 ends; pid 1 ends with bwrap, bwrap with the
launcher (`--die-with-parent`, PR_SET_PDEATHSIG), and the launcher with the worker, by whatever
means the worker ends. When the worker was killed before that was in force, the command does not
begin: the shell's `echo` meets a pipe without a reader. The shell is there because bwrap's own
pid 1 (without `--as-pid-1`) is left to the host's init when bwrap ends, in many containers as a
zombie per command.

From Linux 5.14 on, the limit `processes` counts in the user namespace, and so for each command by
itself. Memory is limited for each process, not for all together.
"""

import contextlib
import os
import re
import resource
import select
import shutil
import signal
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from worker.errors import SandboxFailed
from worker.sandbox import Command, Limits, Process, Proxy, Workspace, child, root_fs, tree
from worker.sandbox.child import Child, ExitStatus
from worker.sandbox.etc import HOST, UID, Etc
from worker.sandbox.launch import Launcher
from worker.sandbox.pipes import memory_file, null_device, pipe
from worker.sandbox.rlimits import rlimits
from worker.sandbox.workspaces import Workspaces

#: The first byte on the output pipe says that the sandbox is set up; it is no output. Without it,
#: the pipe has bwrap's own error message.
_READY: Final = b"\n"
#: pid 1 limits the number of processes (`-u` is bash's letter, `-p` dash's and busybox'), writes
#: `_READY`, and runs the command.
#: The shell's own messages ("Killed") do not belong in the command's output. Without the `exit`,
#: some shells do not fork for the command, which would then be a pid 1 that ignores signals.
#: The variables that it unsets are bwrap's and the shell's own: the command gets those given alone.
_INIT: Final = (
    'ulimit -u "$1" 2>/dev/null || ulimit -p "$1" || exit; shift; exec 2>/dev/null; '
    'unset PWD OLDPWD SHLVL; echo && ("$@" 2>&1); exit $?'
)

#: `_INIT` for a command with a proxy, which waits for a line on its input before it begins.
_HELD: Final = _INIT.replace('echo && ("$@" 2>&1)', 'echo; read -r go && ("$@" 2>&1 </dev/null)')

#: The descriptors of bwrap beside 0, 1 and 2: it reads its arguments from one, and writes about
#: itself to the other.
_ARGUMENTS, _INFO = 3, 4

_START_TIMEOUT: Final = 30.0  #: seconds for bwrap to set up; it takes about 0.01 on an idle machine
_END_TIMEOUT: Final = 30.0  #: seconds for a killed namespace to be gone

_MAX_ERROR_BYTES: Final = 16384  #: bytes read of bwrap's output before it is ready

_INNER_PID: Final = re.compile(rb'"child-pid": *(\d+)')


class Bubblewrap:
    """`Bubblewrap` implements `Sandbox`."""

    name = "bubblewrap"
    isolates = True

    def __init__(self, limits: Limits, workspaces: Workspaces) -> None:
        """Find bwrap. Raises `SandboxFailed` when it is not installed."""
        self._bwrap = _program("bwrap", "bubblewrap")
        self._workspaces = workspaces
        self._etcs: dict[tuple[Path, ...], Etc] = {}
        self._memory_bytes = limits.memory_bytes
        found = rlimits(limits)
        self._processes = str(found.processes)
        self._launcher = Launcher(
            {
                resource.RLIMIT_DATA: found.data,
                resource.RLIMIT_FSIZE: found.file_size,
                resource.RLIMIT_NOFILE: found.open_files,
                resource.RLIMIT_CORE: 0,
            }
        )

    def workspace(self, name: str) -> Workspace:
        return Workspace(root=self._workspaces.make(name), inside=root_fs.BUILD)

    def start(self, command: Command, workspace: Workspace) -> Process:
        self._workspaces.restore(workspace.root, "tmp")
        argv = list(command.argv)
        if command.script is not None:
            name = self._workspaces.write_script(workspace.root, command.script)
            argv.append(str(workspace.inside / name))
        with ExitStack() as ours, ExitStack() as theirs:
            output, their_output = pipe(ours, theirs)
            info, their_info = pipe(ours, theirs)
            status, their_status = pipe(ours, theirs)
            held, go = pipe(theirs, ours) if command.proxy else (null_device(theirs), -1)
            arguments = [*self._namespaces(command), *self._file_system(command, workspace)]
            for name, value in command.env.items():
                arguments += ["--setenv", name, value]
            given = memory_file(theirs, b"".join(os.fsencode(each) + b"\0" for each in arguments))
            child = self._launcher.execute(
                [self._bwrap, "--args", str(_ARGUMENTS), "--", "/bin/sh", "-c",
                 _HELD if command.proxy else _INIT, "sh", self._processes, *argv],
                self._workspaces.user,
                [held, their_output, given, their_info, their_status],
            )  # fmt: skip
            theirs.close()
            confined = Confined(child, output, ExitStatus(status))
            ours.pop_all()
        try:
            confined.begin(info)
            if command.proxy:
                confined.attach_proxy(command.proxy, self._launcher, go)
        except BaseException:
            confined.close()
            os.close(output)
            raise
        finally:
            os.close(info)
            if command.proxy:
                os.close(go)
        return confined

    def remove(self, workspace: Workspace) -> None:
        self._workspaces.remove(workspace.root)

    def close(self) -> None:
        self._launcher.close()
        while self._etcs:
            self._etcs.popitem()[1].close()

    def _namespaces(self, command: Command) -> list[str]:
        return [
            "--unshare-all",
            *(["--share-net"] if command.network else []),
            "--as-pid-1",
            "--die-with-parent",
            "--new-session",
            "--clearenv",
            *("--hostname", "baton"),
            *("--uid", str(UID), "--gid", str(UID)),
            *("--info-fd", str(_INFO)),
            *("--chdir", str(command.cwd)),
        ]

    def _file_system(self, command: Command, workspace: Workspace) -> list[str]:
        # There are nearly always none, but a deploy key may lie in /etc.
        points = tuple(path for path in command.readable if path.is_relative_to(HOST))
        etc = self._etcs.setdefault(points, Etc(self._workspaces, points))
        return (
            root_fs.system()
            + etc.arguments()
            + root_fs.command_part(workspace.root, command.readable, self._memory_bytes)
        )


class Confined:
    """`Confined` implements `Process` with bwrap and pid 1 of the namespace that bwrap made."""

    def __init__(self, bwrap: Child, output: int, exit_status: ExitStatus) -> None:
        self._bwrap = bwrap
        self._output = output
        self._exit_status = exit_status
        self._first: int | None = None  #: pid 1 of the namespace, by its pid out here
        self._first_fd: int | None = None  #: its pidfd
        self._status: int | None = None
        self._closed = False

    @property
    def output(self) -> int:
        return self._output

    def begin(self, info: int) -> None:
        """Wait until the namespace is set up; call once, first.

        `info` is the read end of bwrap's `--info-fd`. Raises `SandboxFailed` with bwrap's own
        message.
        """
        end = time.monotonic() + _START_TIMEOUT
        found = _INNER_PID.search(_read_until(info, b"}", end))
        if found:
            self._first = int(found[1])
            with contextlib.suppress(ProcessLookupError):
                self._first_fd = os.pidfd_open(self._first)
        first = _read_until(self._output, _READY, end, at_most=1)
        if first != _READY:
            output = first + _read_until(self._output, None, end)
            why = output.decode(errors="replace").strip() or "it said nothing"
            raise SandboxFailed(f"bubblewrap could not set up the sandbox: {why}")

    def attach_proxy(self, proxy: Proxy, launcher: Launcher, go: int) -> None:
        """Have the proxy listen in the command's network, then let the command begin.

        `go` is the write end of the command's input. Raises `SandboxFailed`.
        """
        if self._first is None:
            raise SandboxFailed("bwrap did not say which process it began")
        try:
            proxy.adopt(launcher.listen(self._first, proxy.ports))
            os.write(go, b"\n")
        except OSError as error:
            raise SandboxFailed(f"the checkout's network cannot be entered: {error}") from error

    def wait(self, timeout: float) -> int | None:
        """Wait as in `Process`; once there is a status, no process of the command is left.

        Raises `SandboxFailed` when the launcher was killed, and bwrap with it.
        """
        if self._status is None and not self._closed and self._bwrap.ended(timeout):
            self._end_namespace()
            self._status = self._exit_status.read(_END_TIMEOUT)
            if self._status is None:
                raise SandboxFailed("the launcher was killed")
        return self._status

    def terminate(self) -> None:
        """Send SIGTERM as in `Process`, but not to pid 1, which has to wait for the command."""
        if self._first is not None and not self._closed and self._status is None:
            tree.send(tree.descendants(self._first), signal.SIGTERM)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        # pid 1 first, so that bwrap is still there to reap it.
        self._end_namespace()
        self._bwrap.signal(signal.SIGKILL)
        if not self._bwrap.ended(_END_TIMEOUT):
            raise SandboxFailed(f"bwrap did not end within {_END_TIMEOUT:g} s of SIGKILL")
        if self._status is None:
            found = self._exit_status.read(_END_TIMEOUT)
            self._status = child.SIGNALLED + signal.SIGKILL if found is None else found
        self._exit_status.close()
        if self._first_fd is not None:
            os.close(self._first_fd)
        self._bwrap.release()

    def _end_namespace(self) -> None:
        """Kill pid 1, and so the whole namespace; return when its last process is gone."""
        if self._first_fd is not None:
            child.send(self._first_fd, signal.SIGKILL)
            if not child.ended(self._first_fd, _END_TIMEOUT):
                raise SandboxFailed(f"processes of the command were left after {_END_TIMEOUT:g} s")


def _program(name: str, package: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise SandboxFailed(f"{name} is not installed (package {package})")
    return path


def _read_until(fd: int, mark: bytes | None, end: float, *, at_most: int = 4096) -> bytes:
    """Read a pipe until `mark` is in what was read, the pipe ends, or until `end` (monotonic).

    Reads `at_most` bytes at a time, and stops after `_MAX_ERROR_BYTES`.
    """
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    found = b""
    while mark is None or mark not in found:
        if not poll.poll(max(0, (end - time.monotonic()) * 1000)):
            break
        more = os.read(fd, at_most)
        if not more:
            break
        found += more
        if len(found) >= _MAX_ERROR_BYTES:
            break
    return found
