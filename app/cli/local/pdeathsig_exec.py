"""Becomes a program that is killed when its parent ends, however that ends.

`python tether.py PARENT-PID PROGRAM [ARGUMENT…]`; stands alone, so that it starts in an instant.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, program = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":  # elsewhere nothing of the kind exists
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit("the parent ended before its child began")
    os.execvp(program[0], program)  # noqa: S606  no shell


if __name__ == "__main__":
    main()
