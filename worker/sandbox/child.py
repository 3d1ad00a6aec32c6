"""`Child` waits for a process that a launcher has started, by its pidfd and with a timeout."""

import os
import select
import signal
from typing import Final

#: Added to n, the exit status of a process that signal n ended, as in shells.
SIGNALLED: Final = 128


class Child:
    """A `Child` waits for a process and signals it. Only `signal` is for several threads."""

    def __init__(self, pid: int, pidfd: int) -> None:
        """Take `pidfd` over; `release` closes it."""
        self.pid = pid
        self._pidfd = pidfd

    def ended(self, timeout: float) -> bool:
        """Whether the process has ended, after waiting for up to `timeout` seconds."""
        return ended(self._pidfd, timeout)

    def signal(self, number: int) -> None:
        """Send a signal, unless the process is gone."""
        send(self._pidfd, number)

    def release(self) -> None:
        """Close the pidfd; only after the process has ended, and once."""
        os.close(self._pidfd)


class ExitStatus:
    """An `ExitStatus` reads a status pipe: some lines, then `exit <status>`."""

    def __init__(self, fd: int) -> None:
        """Take over `fd`, the read end; `close` closes it."""
        self._fd = fd
        self._received = b""

    def first_lines(self, timeout: float) -> bytes:
        """Wait up to `timeout` seconds for a line; return the lines so far, empty for none."""
        if readable(self._fd, timeout):
            # A line is one write of less than PIPE_BUF bytes: it comes whole, maybe with the next.
            self._received += os.read(self._fd, 4096)
        return self._received

    def read(self, timeout: float) -> int | None:
        """Return the status of a process that has ended; None when none was written.

        Each read waits up to `timeout` seconds.
        """
        while readable(self._fd, timeout):
            more = os.read(self._fd, 4096)
            if not more:
                break
            self._received += more
        _, found, status = self._received.partition(b"exit ")
        return int(status) if found else None

    def close(self) -> None:
        """Close the pipe; call once."""
        os.close(self._fd)


def ended(pidfd: int, timeout: float) -> bool:
    """Whether the process has ended, after waiting for up to `timeout` seconds.

    The first process of a pid namespace ends after all others of its namespace.
    """
    return readable(pidfd, timeout)


def readable(fd: int, timeout: float) -> bool:
    """Whether `fd` has data or no writer any more, after waiting for up to `timeout` seconds."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(max(0, int(timeout * 1000))))


def send(pidfd: int, number: int) -> None:
    """Send a signal to a process, unless it is gone."""
    try:
        signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        return
