"""A process keeps other processes of its user out of itself, and ends when its parent ends."""

import os
import signal

from app import prctl


def hide_this_process() -> None:
    """Keep processes of the same user out of this one: no /proc/<pid>/environ, mem, fd, no ptrace.

    The protection holds for the forks of this process too, and ends with an exec. The files below
    /proc/self belong to root afterwards, so this process may no longer open most of them itself,
    and it leaves no core dump. Raises `OSError` when the kernel refuses.
    """
    prctl.set_dumpable(dumpable=False)


def die_with_parent(parent: int | None = None) -> None:
    """Have the kernel kill this process (SIGKILL) as soon as its parent has ended, in any way.

    `parent` is the parent's pid as known before the fork; by default, it is the current parent. The
    kernel acts on the end of the *thread* that forked this process: call this function only where
    that thread lives as long as the parent does. Raises `OSError` when the kernel refuses.
    """
    expected = os.getppid() if parent is None else parent
    prctl.set_parent_death_signal(signal.SIGKILL)
    if os.getppid() != expected:  # the parent ended before the kernel was told
        os.kill(os.getpid(), signal.SIGKILL)
