"""`Supervisor` starts child processes one after the other, and ends them all together.

It is used from the main thread only: on Linux, a child is killed when the thread that started it
ends, which is how even `kill -9` of this process leaves no child behind.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Final

from app.cli.display.terminal_sanitizer import sanitized
from app.cli.local import pdeathsig_exec

#: Lines kept of each child's output, shown when it ends unexpectedly.
_MAX_CACHED_LINES: Final = 20
#: Characters of a line, after which it is cut in two.
_MAX_LINE: Final = 8192
#: Seconds between checks of a child that is starting or stopping.
_POLL_INTERVAL: Final = 0.05

Show = Callable[[str, str], None]  #: takes a child's name and a line of its output


class StartFailed(Exception):
    """A child was not ready in time, or ended by itself; the message has its last lines."""


class Interrupted(BaseException):
    """A signal asked for the end. Not an `Exception`, so that no handler takes it for a failure."""


class Child:
    """A `Child` is one process of a supervisor."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], grace: float) -> None:
        self.name = name
        self.process = process
        self.grace = grace  #: seconds between SIGTERM and SIGKILL
        self.lines: deque[str] = deque(maxlen=_MAX_CACHED_LINES)
        self.reader: threading.Thread | None = None

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def last_output(self) -> str:
        """Say how the child ended, or that it is not ready, and add its last lines."""
        status = self.process.poll()
        if status is None:
            how = "is not ready"
        elif status < 0:
            how = f"was killed by {signal.Signals(-status).name}"
        else:
            how = f"exited with {status}"
        if self.reader is not None and status is not None:
            self.reader.join(1)
        last = [f"  {self.name} │ {line}" for line in self.lines]
        return "\n".join([f"{self.name} {how}" + (", after:" if last else ""), *last])


class Supervisor:
    """A `Supervisor` starts children, watches them, and stops them all.

    `show` is called with each line of a child's output, from a thread for each child.
    """

    def __init__(self, show: Show) -> None:
        self._show = show
        self._children: list[Child] = []
        self._events: SimpleQueue[Child | signal.Signals] = SimpleQueue()
        self._stopping = False
        self._hurried = False

    def interrupt(self, number: int, _: object = None) -> None:
        """Handle a signal: the first one has `watch` raise `Interrupted`, one during `stop` has it
        kill at once."""
        self._hurried = self._stopping
        self._events.put(signal.Signals(number))

    def start(
        self,
        name: str,
        argv: Sequence[str],
        env: Mapping[str, str],
        *,
        stdin: bytes = b"",
        grace: float = 5,
    ) -> Child:
        """Start a child, which reads `stdin` and whose output goes to `show`, line by line.

        `grace` is the seconds between SIGTERM and SIGKILL. Raises `StartFailed`.
        """
        launcher = [sys.executable, "-I", "-S", pdeathsig_exec.__file__, str(os.getpid())]
        try:
            process = subprocess.Popen(
                [*launcher, *argv],
                env=dict(env),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                # In a session of its own, no Ctrl-C of the terminal reaches the child, and it
                # cannot ask for a password.
                start_new_session=True,
            )
        except OSError as error:
            raise StartFailed(f"{name} cannot be started: {error}") from error
        child = Child(name, process, grace)
        self._children.append(child)
        child.reader = threading.Thread(target=self._read, args=(child,), daemon=True)
        child.reader.start()
        threading.Thread(target=self._wait, args=(child,), daemon=True).start()
        if process.stdin is not None:
            with suppress(BrokenPipeError):  # it ended; `wait_ready` says so
                process.stdin.write(stdin)
                process.stdin.close()
        return child

    def wait_ready(self, child: Child, ready: Callable[[], bool], *, seconds: float) -> None:
        """Poll `ready` until it is true.

        Raises `StartFailed` after `seconds`, or when a child has ended, and `Interrupted`.
        """
        end = time.monotonic() + seconds
        while not ready():
            self.watch(_POLL_INTERVAL)
            if time.monotonic() > end:
                raise StartFailed(f"{child.last_output()}\n{seconds:g} s were not enough to start")

    def watch(self, seconds: float | None = None) -> None:
        """Wait for `seconds`, None for ever, while all children run.

        Raises `StartFailed` when a child has ended, `Interrupted` when a signal came.
        """
        try:
            event = self._events.get(timeout=seconds)
        except Empty:
            return
        if isinstance(event, Child):
            raise StartFailed(event.last_output())
        raise Interrupted

    def stop(self) -> None:
        """End all children, the youngest first, with SIGKILL after each one's grace."""
        self._stopping = True
        for child in reversed(self._children):
            self._stop(child)
        for child in self._children:
            if child.reader is not None:
                child.reader.join(1)
        self._children.clear()

    def _stop(self, child: Child) -> None:
        end = time.monotonic() + child.grace
        if child.alive:
            child.process.terminate()
        while child.alive and time.monotonic() < end and not self._hurried:
            time.sleep(_POLL_INTERVAL)
        if child.alive:
            if not self._hurried:
                self._show(child.name, f"did not stop within {child.grace:g} s: killed")
            with suppress(ProcessLookupError):
                os.killpg(child.process.pid, signal.SIGKILL)
        child.process.wait()

    def _wait(self, child: Child) -> None:
        child.process.wait()
        if not self._stopping:
            self._events.put(child)

    def _read(self, child: Child) -> None:
        stream = child.process.stdout
        if stream is None:
            return
        for data in iter(lambda: stream.readline(_MAX_LINE), b""):
            line = sanitized(data.decode(errors="replace").rstrip("\r\n"))
            child.lines.append(line)
            self._show(child.name, line)
