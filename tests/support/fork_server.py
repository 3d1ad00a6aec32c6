"""A process that starts others for tests, and ends with the tests together with all of them.

Run as a program, this file is that process; imported, it is how tests talk to it. What it executes
is any program. What it forks is a command of Baton's, which the fork server has imported once: it
begins as the command does, with the arguments, environment, directory and files that it is given
and nothing else open, and it ends as an interpreter does. Only what exec sets is the fork server's
own: the command line and environment that /proc shows, and the interpreter's options.
"""

import array
import atexit
import functools
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import IO, Any, Final, Literal, TextIO

from app.process_hardening import die_with_parent

#: What the commands import: those that serve, and those that ask.
_IMPORTED: Final = (
    *(
        "app.cli.commands.api",
        "app.cli.commands.issuer",
        "app.cli.commands.worker",
        "worker.__main__",
    ),
    *(
        "app.cli.commands.submit",
        "app.cli.display.follow",
        "app.cli.commands.login",
        "app.cli.commands.token",
        "app.cli.commands.doctor",
    ),
)

_LONGEST: Final = 1 << 17  #: bytes of a request


File = IO[bytes] | int


class Process:
    """A process that the fork server started, to be handled as a `subprocess.Popen` is."""

    def __init__(self, argv: Sequence[str], pid: int, pidfd: int, status: int) -> None:
        self.args = argv
        self.pid = pid
        self.returncode: int | None = None
        self._pidfd = pidfd
        self._status = status  #: where the fork server writes how it ended

    def poll(self) -> int | None:
        return self._look(0)

    def wait(self, timeout: float | None = None) -> int:
        code = self._look(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return code

    def send_signal(self, sig: int) -> None:
        """Returns, for SIGSTOP, when all threads have stopped: until then, they may answer yet."""
        if self.poll() is None:
            try:
                signal.pidfd_send_signal(self._pidfd, sig)
            except ProcessLookupError:  # it has just ended
                return
            while sig == signal.SIGSTOP and not self._stopped():
                time.sleep(0.001)

    def _stopped(self) -> bool:
        """Also true of a process that has ended."""
        with suppress(FileNotFoundError, ProcessLookupError):
            for stat in Path(f"/proc/{self.pid}/task").glob("*/stat"):
                if stat.read_text().rpartition(")")[2].split()[0] not in {"T", "Z", "X"}:
                    return False
        return True

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _look(self, seconds: float | None) -> int | None:
        if self.returncode is None:
            with selectors.DefaultSelector() as selector:
                selector.register(self._status, selectors.EVENT_READ)
                if selector.select(seconds):
                    words = os.read(self._status, 16)
                    os.close(self._status)
                    os.close(self._pidfd)
                    assert words, "the fork server has ended"
                    self.returncode = int(words)
        return self.returncode


class ForkServer:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                # -P: what lies beside this file is not in the path of what it forks.
                [sys.executable, "-P", __file__, str(theirs.fileno())],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, pass_fds=[theirs.fileno()],
            )  # fmt: skip

    def start(
        self, argv: Sequence[str], env: Mapping[str, str], out: File, err: File | None = None, *,
        fork: bool, stdin: File | None = None, cwd: Path | None = None,
    ) -> Process:  # fmt: skip
        """Start a program, or fork a command of Baton's, which `argv` begins with all the same. It
        prints to `out`, unless there is an `err`, and reads nothing, unless there is a `stdin`."""
        where = str(cwd or Path.cwd())
        request = json.dumps({"argv": argv, "env": dict(env), "cwd": where, "fork": fork})
        status, theirs = os.pipe()
        with Path(os.devnull).open("rb") as nothing, open(theirs, "wb") as write_end:  # noqa: PTH123
            files = [nothing if stdin is None else stdin, out, out if err is None else err]
            with self._lock:
                _send(self._control, request, *map(_number, [*files, write_end]))
                pid, [pidfd] = _receive(self._control)
        return Process(argv, pid, pidfd, status)

    def close(self) -> None:
        self._control.close()
        self._process.wait(20)


@functools.cache
def fork_server() -> ForkServer:
    """The one of this process. It ends with it, however that ends, and all that it started too."""
    server = ForkServer()
    atexit.register(server.close)
    return server


def _number(file: File) -> int:
    return file if isinstance(file, int) else file.fileno()


def _send(control: socket.socket, words: str, *files: int) -> None:
    rights = array.array("i", files)
    control.sendmsg([words.encode()], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])


def _receive(control: socket.socket) -> tuple[Any, list[int]]:
    """What was sent, and the files; `None` when the other side has ended."""
    words, files, _, _ = socket.recv_fds(control, _LONGEST, 4)
    return json.loads(words) if words else None, files


# ── the fork server itself ─────────────────────────────────────────────────────────────────────


class _Forks:
    """What runs until nobody asks any more; and, in each process that it forked, has run."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._selector = selectors.DefaultSelector()
        self._selector.register(control, selectors.EVENT_READ)
        self._children: dict[int, tuple[int, int]] = {}  #: by pidfd: pid, and where to say its end

    def run(self) -> bool:
        """True in a forked process, which now is what it was forked for."""
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is not self._control:
                    self._say_how_it_ended(key.fd)
                    continue
                request, files = _receive(self._control)
                if request is None:
                    return False
                if self._fork(request, *files):
                    return True

    def _fork(self, request: dict[str, Any], stdin: int, out: int, err: int, status: int) -> bool:
        if request["fork"]:
            _import()
        # A thread would not live through the fork, and what it held would stay locked.
        assert len(list(Path("/proc/self/task").iterdir())) == 1
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            os.close(status)
            self._close()
            _become(request, (stdin, out, err), parent)
            return True
        for file in (stdin, out, err):
            os.close(file)
        pidfd = os.pidfd_open(pid)
        self._children[pidfd] = pid, status
        self._selector.register(pidfd, selectors.EVENT_READ)
        _send(self._control, str(pid), pidfd)
        return False

    def _say_how_it_ended(self, pidfd: int) -> None:
        self._selector.unregister(pidfd)
        pid, status = self._children.pop(pidfd)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        with suppress(BrokenPipeError):  # nobody wants to know
            os.write(status, str(code).encode())
        os.close(status)
        os.close(pidfd)

    def _close(self) -> None:
        self._selector.close()
        self._control.close()
        for pidfd, (_, status) in self._children.items():
            os.close(pidfd)
            os.close(status)


@functools.cache
def _import() -> None:
    for name in _IMPORTED:
        import_module(name)
    del sys.modules["worker.__main__"]  # it is run, not imported


def _become(request: dict[str, Any], files: Iterable[int], parent: int) -> None:
    """Make of this process, just forked, what it was forked for: by exec, or as exec would."""
    die_with_parent(parent)
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(request["cwd"])
    if not request["fork"]:
        for number in (signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ):  # exec resets no ignored one
            signal.signal(number, signal.SIG_DFL)
        os.execve(request["argv"][0], request["argv"], request["env"])  # noqa: S606  no shell
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(request["env"])
    time.tzset()
    tempfile.tempdir = None
    sys.argv = request["argv"]
    sys.stdin = _opened(0, "r", sys.stdin)
    sys.stdout = _opened(1, "w", sys.stdout)
    sys.stderr = _opened(2, "w", sys.stderr, buffering=1)


def _opened(number: int, mode: Literal["r", "w"], before: TextIO, buffering: int = -1) -> TextIO:
    """A standard stream on the file that now has its number; a terminal is written line by line."""
    encoding, errors = before.encoding, before.errors
    return open(number, mode, buffering, encoding, errors, closefd=False)


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the tests, and what they start
    if _Forks(socket.socket(fileno=int(sys.argv[1]))).run():
        runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
