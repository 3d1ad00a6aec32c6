"""This program becomes another one, which the kernel kills when its parent ends, however that ends.

It runs as `python -I -S pdeathsig_exec.py PARENT-PID PROGRAM [ARGUMENT…]`, and imports next to
nothing, so that it starts in an instant.
"""

import os
import signal
import sys

sys.path.append(__file__.rpartition("/app/")[0])  # `-I` leaves it out; last, it shadows nothing
from app import prctl


def main() -> None:
    """Set the parent's death signal, then execute PROGRAM; exit when the parent is gone already."""
    parent, program = int(sys.argv[1]), sys.argv[2:]
    prctl.set_parent_death_signal(signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the parent ended before its child began")
    os.execvp(program[0], program)  # noqa: S606  no shell


if __name__ == "__main__":
    main()
