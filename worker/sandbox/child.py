"""A direct child of the worker, held by its pidfd: waiting has an end, and no status gets lost.

`Popen.wait` is not used: it polls, and it takes a child that somebody else has reaped for one that
exited with 0, which would make a build succeed that did not.
"""

import os
import select
import signal
import subprocess
from typing import Final

from worker.errors import SandboxFailed

#: Exit status of a process that signal n ended, as shells spell it.
SIGNALLED: Final = 128


class Child:
    """A started process. Not for several threads, except `signal`."""

    def __init__(self, popen: "subprocess.Popen[bytes]") -> None:
        self._popen = popen
        self._pidfd = os.pidfd_open(popen.pid)
        self._status: int | None = None

    @property
    def pid(self) -> int:
        return self._popen.pid

    def wait(self, timeout: float) -> int | None:
        """The exit status (128 + n for signal n), None when there is none after `timeout` seconds.

        Raises `SandboxFailed` when something else in this process took the status.
        """
        if self._status is None and ended(self._pidfd, timeout):
            found = self._taken()
            exited = found.si_code == os.CLD_EXITED
            self._status = found.si_status if exited else SIGNALLED + found.si_status
            self._popen.returncode = found.si_status if exited else -found.si_status
        return self._status

    def _taken(self) -> os.waitid_result:
        try:
            found = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED)
        except ChildProcessError:
            found = None
        if found is None:
            self._popen.returncode = -signal.SIGKILL
            raise SandboxFailed("the exit status was taken by something else in this process")
        return found

    def signal(self, number: int) -> None:
        """Send a signal, unless it has been waited for."""
        send(self._pidfd, number)

    def release(self) -> None:
        """Let go of the pidfd; only after the end, and once."""
        os.close(self._pidfd)


def ended(pidfd: int, timeout: float) -> bool:
    """Whether the process has ended, after at most `timeout` seconds of waiting for it.

    The first process of a pid namespace ends when all of its namespace has ended.
    """
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(max(0, int(timeout * 1000))))


def send(pidfd: int, number: int) -> None:
    try:
        signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        return
