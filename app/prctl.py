"""This module wraps the few prctl(2) calls that Python lacks; each raises `OSError` when refused.

Small programs that must start in an instant import it too, so it needs nothing but ctypes.
"""

import ctypes
import os

_SET_PDEATHSIG = 1
_SET_DUMPABLE = 4
_SET_CHILD_SUBREAPER = 36
_SET_NO_NEW_PRIVS = 38

_libc = ctypes.CDLL(None, use_errno=True)


def set_parent_death_signal(number: int) -> None:
    """Have the kernel send this process the signal `number` when the *thread* that forked it ends.

    The setting is cleared by a change of user and by the exec of a set-user-id program; any other
    exec keeps it.
    """
    _prctl(_SET_PDEATHSIG, number)


def set_dumpable(*, dumpable: bool) -> None:
    """Set whether processes of the same user may ptrace this one and read /proc/<pid>/environ, mem
    and fd. An exec makes the process dumpable again."""
    _prctl(_SET_DUMPABLE, int(dumpable))


def set_child_subreaper() -> None:
    """Make this process the parent of every descendant whose parent ends; an exec keeps that."""
    _prctl(_SET_CHILD_SUBREAPER, 1)


def set_no_new_privileges() -> None:
    """Make set-user-id programs have no effect in this process and its descendants, for good."""
    _prctl(_SET_NO_NEW_PRIVS, 1)


def _prctl(option: int, value: int) -> None:
    zero = ctypes.c_ulong(0)
    if _libc.prctl(option, ctypes.c_ulong(value), zero, zero, zero) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl({option}): {os.strerror(number)}")
