"""Keeping a server's memory and environment from other processes of the same user.

A build that runs without a sandbox of its own file system has the server's user id, and so could
read `/proc/<pid>/environ`, where the secrets are.
"""

import ctypes
import sys
from typing import Final

_PR_SET_DUMPABLE: Final = 4


def forbid_inspection() -> None:
    """From now on only root may trace this process or read its environment and memory.

    Does not outlive an `exec`. Does nothing where there is no such thing (not Linux).
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
