"""The few prctl(2) calls that Python does not offer; each raises `OSError` when refused.

Imported by small programs as well, which start in an instant: hence nothing but ctypes here.
"""

import ctypes
import os

_SET_PDEATHSIG = 1
_SET_DUMPABLE = 4
_SET_CHILD_SUBREAPER = 36
_SET_NO_NEW_PRIVS = 38

_libc = ctypes.CDLL(None, use_errno=True)


def set_parent_death_signal(number: int) -> None:
    """Have the kernel send this process `number` when the *thread* that forked it ends.

    Cleared by a change of user and by running a set-user-id program; kept by any other exec.
    """
    _prctl(_SET_PDEATHSIG, number)


def set_dumpable(*, dumpable: bool) -> None:
    """Whether processes of the same user may read /proc/<pid>/{environ,mem,fd,…} and ptrace this
    one. An exec sets it again."""
    _prctl(_SET_DUMPABLE, int(dumpable))


def set_child_subreaper() -> None:
    """Become the parent of every descendant whose own parent ends; kept by an exec."""
    _prctl(_SET_CHILD_SUBREAPER, 1)


def set_no_new_privileges() -> None:
    """Take all effect from set-user-id programs, for good, in this process and all that follow."""
    _prctl(_SET_NO_NEW_PRIVS, 1)


def _prctl(option: int, value: int) -> None:
    zero = ctypes.c_ulong(0)
    if _libc.prctl(option, ctypes.c_ulong(value), zero, zero, zero) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl({option}): {os.strerror(number)}")
