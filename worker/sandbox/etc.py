"""`Etc` makes the /etc that builds in bubblewrap see.

It has a user list of our own, and the host's certificates, name service and linker cache where they
are world-readable there; nothing else of the host's. Files are copied to a directory of the
worker's own, which one mount brings into a sandbox: a mount for each file took a third of bwrap's
time. Directories are mounted, as they may have a thousand links in them.
"""

import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from worker.errors import SandboxFailed
from worker.sandbox.workspaces import Workspaces

#: The build's user inside. Not 65534: files of users from outside show as that one's.
UID: Final = 1000

HOST: Final = Path("/etc")

#: What programs need, on the distributions that we know. Keys and configuration of the host's own
#: services stay outside: /etc/ssl/private, /etc/ssh, /etc/gitconfig, …
_SHOWN: Final = (
    "alternatives",
    "ca-certificates",
    "ca-certificates.conf",
    "crypto-policies",
    "hosts",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "nsswitch.conf",
    "pki/ca-trust/extracted",
    "pki/tls/certs",
    "protocols",
    "resolv.conf",
    "services",
    "ssl/cert.pem",
    "ssl/certs",
    "ssl/openssl.cnf",
    "timezone",
)

_OWN: Final = {
    "passwd": f"build:x:{UID}:{UID}:build:/build/home:/bin/sh\n"
    "nobody:x:65534:65534::/:/bin/false\n",
    "group": f"build:x:{UID}:\nnogroup:x:65534:\n",
}

#: Inode, size and time of change of each file; None where there is none.
_FileStates = tuple[tuple[int, int, int] | None, ...]


class Etc:
    """An `Etc` makes its directory when it is first needed, and a new one when the host's changes.

    Older ones stay for the builds that see them, until `close`.
    """

    def __init__(self, workspaces: Workspaces, mount_points: Sequence[Path] = ()) -> None:
        """Have an empty file or directory at each of `mount_points`, paths of the host's /etc that
        the caller mounts itself."""
        self._workspaces = workspaces
        self._mount_points = mount_points
        self._seen: _FileStates = ()
        self._copies: list[Path] = []
        self._folders: list[Path] = []

    def arguments(self) -> list[str]:
        """Return bwrap's arguments that mount an /etc as the host's is now.

        Raises `SandboxFailed`.
        """
        seen = tuple(_file_state(f"{HOST}/{name}") for name in _SHOWN)
        if not self._copies or seen != self._seen:
            path = self._workspaces.make_for_all("etc")
            self._copies.append(path)
            try:
                self._folders = _fill(path, self._mount_points)
            except OSError as error:
                self._workspaces.remove(self._copies.pop())
                raise SandboxFailed(f"cannot make an /etc for builds: {error}") from error
            self._seen = seen
        arguments = ["--ro-bind", str(self._copies[-1]), "/etc"]
        for each in self._folders:
            arguments += ["--ro-bind", str(each), f"/etc/{each.relative_to(HOST)}"]
        return arguments

    def close(self) -> None:
        """Delete all directories; no build may see one any more. Raises `SandboxFailed`."""
        while self._copies:
            self._workspaces.remove(self._copies.pop())


def _file_state(path: str) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116  twenty of them for each command: a Path costs twice that
    except OSError:
        return None
    if stat.S_ISDIR(found.st_mode):  # it is mounted, so its changes show in the sandbox
        return found.st_mode, 0, 0
    return found.st_ino, found.st_size, found.st_mtime_ns


def _fill(path: Path, mount_points: Sequence[Path]) -> list[Path]:
    """Fill `path` with copies of the host's files; return the host's directories to be mounted."""
    for name, content in _OWN.items():
        (path / name).write_text(content)
    folders = []
    for name in _SHOWN:
        source = HOST / name
        above = [each for each in source.parents if each.is_relative_to(HOST)]
        if not all(map(_is_public, (source, *above))):
            continue
        target = _make_place(path, source)
        if target.is_dir():
            folders.append(source)
        else:
            with suppress(
                FileNotFoundError
            ):  # it is being replaced: the next call sees the new one
                shutil.copyfile(source, target)
    for point in mount_points:
        _make_place(path, point)
    for each in _below(path):  # so that this process' umask does not matter
        each.chmod(0o755 if each.is_dir() else 0o644)
    return folders


def _make_place(path: Path, source: Path) -> Path:
    """Make an empty file or directory below `path`, where `source` is below the host's /etc."""
    target = path / source.relative_to(HOST)
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        target.mkdir(exist_ok=True)
    else:
        target.touch()
    return target


def _is_public(path: Path) -> bool:
    """Whether `path` is world-readable: a worker that is root reads more than its builds may."""
    try:
        found = path.stat()
    except OSError:
        return False
    return found.st_mode & 0o004 != 0 and (found.st_mode & 0o001 != 0 or not path.is_dir())


def _below(path: Path) -> Iterator[Path]:
    """Yield all directories and files below `path`, and no links."""
    for folder, folders, files in os.walk(path):
        yield from (
            found for name in (*folders, *files) if not (found := Path(folder, name)).is_symlink()
        )
