"""`system` and `command_part` give bwrap the file system that a build sees.

    /usr /bin /lib* /sbin      the host's, read-only
    /etc                       what `etc.py` says, read-only
    /proc /dev                 of the sandbox's own namespaces; /dev/shm is of limited size
    /build                     the workspace; /tmp and /var/tmp are its tmp/
    further paths              read-only, where the command is given any

All else does not exist, and nothing outside /build and /dev/shm can be written.
"""

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Final

from worker.errors import SandboxFailed

BUILD: Final = Path("/build")

_TMP, _VAR_TMP, _SHM = "/tmp", "/var/tmp", "/dev/shm"  # noqa: S108  mount points inside

_SYSTEM: Final = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")


def system() -> list[str]:
    """Return the arguments that are the same for every command on this host; /etc comes after."""
    return ["--ro-bind", "/usr", "/usr", *_system_links()]


def command_part(root: Path, readable: Iterable[Path], shm_bytes: int) -> list[str]:
    """Return the arguments that differ from command to command; they come after /etc.

    `root` is the workspace on the host, `readable` the further paths, `shm_bytes` the size of
    /dev/shm. Raises `SandboxFailed`.
    """
    arguments = ["--proc", "/proc", "--dev", "/dev"]
    arguments += ["--size", str(shm_bytes), "--tmpfs", _SHM, "--remount-ro", "/dev"]
    arguments += ["--bind", str(root), str(BUILD), "--bind", str(root / "tmp"), _TMP]
    arguments += ["--dir", "/run", "--dir", "/var", "--symlink", "../tmp", _VAR_TMP]
    for path in readable:
        _refuse_links(root, path)
        arguments += ["--ro-bind", str(path), str(path)]
    return [*arguments, "--remount-ro", "/"]


@cache
def _system_links() -> tuple[str, ...]:
    return tuple(_each_system_link())


def _each_system_link() -> Iterable[str]:
    for name in _SYSTEM:
        path = Path("/") / name
        if path.is_symlink():
            yield from ("--symlink", str(path.readlink()), str(path))
        elif path.is_dir():
            yield from ("--ro-bind", str(path), str(path))


def _refuse_links(root: Path, path: Path) -> None:
    """Raise `SandboxFailed` when the build has put a link on the way to a mount point.

    A mount point below /tmp or /build lies in the build's own directory. bwrap would follow a link
    that an earlier step has put there, while it still sees the host's file system.
    """
    for top, behind in ((Path(_TMP), root / "tmp"), (BUILD, root)):
        if path.is_relative_to(top):
            parts = path.relative_to(top).parts
            for depth in range(1, len(parts) + 1):
                if behind.joinpath(*parts[:depth]).is_symlink():
                    raise SandboxFailed(f"the build has put a link in the way of {path}")
