"""`Child` holds a process that a launcher has started, by its pidfd: waiting has an end."""

import os
import select
import signal
from typing import Final

#: Exit status of a process that signal n ended, as shells spell it.
SIGNALLED: Final = 128


class Child:
    """Waits for a started process and signals it. Only `signal` is for several threads."""

    def __init__(self, pid: int, pidfd: int) -> None:
        """`pidfd` is this object's from now on."""
        self.pid = pid
        self._pidfd = pidfd

    def ended(self, timeout: float) -> bool:
        """Whether it has ended, after at most `timeout` seconds of waiting for it."""
        return ended(self._pidfd, timeout)

    def signal(self, number: int) -> None:
        """Send a signal, unless it is gone."""
        send(self._pidfd, number)

    def release(self) -> None:
        """Let go of the pidfd; only after the end, and once."""
        os.close(self._pidfd)


class ExitStatus:
    """Reads what comes on a status pipe: words, and then `exit <status>`."""

    def __init__(self, fd: int) -> None:
        """`fd` is the read end, and this object's from now on."""
        self._fd = fd
        self._said = b""

    def first_words(self, timeout: float) -> bytes:
        """What was said within `timeout` seconds, in whole lines; empty when nothing was."""
        if readable(self._fd, timeout):
            # A line is one write of less than PIPE_BUF bytes: it comes whole, maybe with the next.
            self._said += os.read(self._fd, 4096)
        return self._said

    def read(self, timeout: float) -> int | None:
        """The status of a process that has ended; None when nobody wrote it down, or not within
        `timeout` seconds."""
        while readable(self._fd, timeout):
            more = os.read(self._fd, 4096)
            if not more:
                break
            self._said += more
        _, found, status = self._said.partition(b"exit ")
        return int(status) if found else None

    def close(self) -> None:
        """Let go of the pipe, once."""
        os.close(self._fd)


def ended(pidfd: int, timeout: float) -> bool:
    """Whether the process has ended, after at most `timeout` seconds of waiting for it.

    The first process of a pid namespace ends when all of its namespace has ended.
    """
    return readable(pidfd, timeout)


def readable(fd: int, timeout: float) -> bool:
    """Whether there is something to read, or nobody left who could write, within `timeout`
    seconds."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(max(0, int(timeout * 1000))))


def send(pidfd: int, number: int) -> None:
    """Send a signal to a process, unless it is gone."""
    try:
        signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        return
