"""A command's limits as resource limits (setrlimit(2)) that this worker is able to set."""

import resource
from dataclasses import dataclass

from worker.sandbox import Limits


@dataclass(frozen=True, kw_only=True, slots=True)
class RLimits:
    """Soft and hard limit of each, never above the worker's own hard limit: only root may raise
    one, and builds do not run as root."""

    data: int  #: bytes of private writable memory, for each process
    processes: int  #: threads of the user; what that counts is the sandbox's to say
    file_size: int  #: bytes
    open_files: int  #: for each process


def rlimits(limits: Limits) -> RLimits:
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
