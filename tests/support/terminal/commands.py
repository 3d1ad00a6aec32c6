"""The `baton` command, run as a user runs it: in a pipe, or on a terminal of its own."""

import json
import os
import pty
import re
import signal
import subprocess
from tempfile import TemporaryFile
from types import TracebackType
from typing import Any, Self

from tests.integration.dev_process import BATON, environment
from tests.support.fork_server import fork_server
from tests.support.stack import AUDIENCE, Stack
from tests.support.waiting import wait_until


def settings(stack: Stack, user: str = "ann") -> dict[str, str]:
    return environment(
        BATON_API_URL=stack.api_url, BATON_TOKEN=stack.token(user), BATON_AUDIENCE=AUDIENCE
    )


def run(
    env: dict[str, str], *arguments: str, stdin: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """A command to its end, forked: `test_imports` has those that are executed."""
    argv = [BATON, *arguments]
    with TemporaryFile() as given, TemporaryFile() as out, TemporaryFile() as err:
        given.write(stdin)
        given.seek(0)
        process = fork_server().start(argv, env, out, err, stdin=given, fork=True)
        try:
            code = process.wait(120)
        finally:
            process.kill()
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(argv, code, out.read(), err.read())


def baton(
    stack: Stack, *arguments: str, stdin: bytes = b"", user: str = "ann"
) -> subprocess.CompletedProcess[bytes]:
    return run(settings(stack, user), *arguments, stdin=stdin)


def submit(stack: Stack, script: str) -> str:
    done = baton(stack, "submit", "--run", script)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode().strip()


def status(stack: Stack, build_id: str) -> str:
    done = baton(stack, "show", build_id, "--json")
    return str(json.loads(done.stdout)["status"])


def listed(stack: Stack, *arguments: str) -> list[dict[str, Any]]:
    """The builds that `baton list` finds."""
    done = baton(stack, "list", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    builds: list[dict[str, Any]] = json.loads(done.stdout)["builds"]
    return builds


def piped(stack: Stack, *arguments: str) -> "subprocess.Popen[bytes]":
    """A command that goes on, and writes into pipes."""
    return subprocess.Popen(
        [BATON, *arguments], env=settings(stack), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0,
    )  # fmt: skip


class Terminal:
    """A command on a terminal of its own, whose screen is a string that grows.

    Without `keyboard`, only what it says is on the terminal, and its stdin is empty.
    """

    def __init__(
        self, stack: Stack, *arguments: str, keyboard: bool = True, **variables: str
    ) -> None:
        self._keyboard = keyboard
        self._arguments = arguments
        env = {k: v for k, v in settings(stack).items() if k not in {"NO_COLOR", "COLORTERM"}}
        self._env = {**env, "TERM": "xterm-256color", "COLUMNS": "100", **variables}
        self.screen = ""

    def __enter__(self) -> Self:
        self._ours, theirs = pty.openpty()
        os.set_blocking(self._ours, False)
        self.process = fork_server().start(
            [BATON, *self._arguments],
            self._env,
            theirs,
            stdin=theirs if self._keyboard else None,
            fork="PYTHONIOENCODING" not in self._env,  # which is for a new interpreter
        )
        os.close(theirs)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.kill()
        self.process.wait(20)
        os.close(self._ours)

    def read(self) -> str:
        try:
            while data := os.read(self._ours, 65536):
                self.screen += data.decode(errors="replace")
        except OSError:  # nothing now, or everything has been read
            pass
        return self.screen

    def wait_for(self, text: str) -> None:
        wait_until(f"the screen shows {text!r}", lambda: text in self.read(), seconds=60)

    @property
    def plain(self) -> str:
        """Everything that was ever shown, without colours and moves of the cursor."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.screen)

    @property
    def lines(self) -> list[str]:
        """What was printed as lines."""
        return re.findall(r"(?<=[\r\n])([^\r\n]*)(?=\r\n)", self.plain)

    def wait_for_line(self, line: str) -> None:
        def there() -> bool:
            self.read()
            return line in self.lines

        wait_until(f"the screen has the line {line!r}", there, seconds=60)

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def wait(self) -> int:
        def ended() -> bool:
            self.read()
            return self.process.poll() is not None

        wait_until("the command has ended", ended, seconds=60)
        self.read()
        return self.process.wait(0)
