"""`rlimits` turns a command's limits into resource limits (setrlimit(2)) that a worker may set."""

import resource
from dataclasses import dataclass

from worker.sandbox import Limits


@dataclass(frozen=True, kw_only=True, slots=True)
class RLimits:
    """`RLimits` are both soft and hard limits, never above the worker's own hard limits.

    Only root may raise a hard limit, and builds do not run as root.
    """

    data: int  #: bytes of private writable memory, for each process
    processes: int  #: threads of the user, counted per sandbox or per host as the sandbox says
    file_size: int  #: bytes
    open_files: int  #: for each process


def rlimits(limits: Limits) -> RLimits:
    """Return `limits`, lowered to this process' hard limits."""
    return RLimits(
        # Not RLIMIT_AS: Node, Go and the JVM reserve address space by the gigabyte and use little.
        data=_at_most(resource.RLIMIT_DATA, limits.memory_bytes),
        processes=_at_most(resource.RLIMIT_NPROC, limits.processes),
        file_size=_at_most(resource.RLIMIT_FSIZE, limits.file_bytes),
        open_files=_at_most(resource.RLIMIT_NOFILE, limits.open_files),
    )


def _at_most(which: int, wanted: int) -> int:
    _, hard = resource.getrlimit(which)
    return wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
