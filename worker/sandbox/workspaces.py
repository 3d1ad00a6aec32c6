"""`Workspaces` makes, fills and deletes the directories of builds, all below one directory.

    /tmp/baton-<uid>/              the worker's, 0711: may be entered, cannot be listed
        bld_…-k3v9x2ab/            the build's own from here on, 0700
            source/ home/ tmp/
            script-91f3…           a step's script, 0400
        etc-3m8r_w1q/              what builds in bubblewrap see as /etc

A worker holds a lock on each of its workspaces. One without a lock was left by a worker that was
killed, and `sweep` deletes it.

Steps of a build can put anything into its directory, symbolic links included: the worker works
there relative to open directories, and follows no link.
"""

import fcntl
import logging
import os
import re
import secrets
import stat
import tempfile
from pathlib import Path
from typing import Final

from worker.errors import SandboxFailed
from worker.sandbox.deletion import delete_tree
from worker.sandbox.user import BuildUser

log = logging.getLogger(__name__)

FOLDERS: Final = ("source", "home", "tmp")

_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}\Z")
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Workspaces:
    """A `Workspaces` makes, fills and deletes the directories of builds that run as `user`."""

    def __init__(self, folder: Path | None, user: BuildUser) -> None:
        """Use `folder`, by default `baton-<uid>` in the system's directory for temporary files.

        Raises `SandboxFailed` when it cannot be used safely.
        """
        default = Path(tempfile.gettempdir()) / f"baton-{os.geteuid()}"
        self.folder = (default if folder is None else folder).absolute()
        self.user = user
        self._locks: dict[Path, int] = {}
        try:
            self._secure()
        except OSError as error:
            raise SandboxFailed(f"cannot use {self.folder} for workspaces: {error}") from error

    def make(self, name: str) -> Path:
        """Make a directory with `FOLDERS` in it; only the build's user may enter any of them.

        `name` becomes part of its name. Raises `SandboxFailed`.
        """
        if not _NAME.match(name):
            raise SandboxFailed(f"{name!r} cannot be part of a directory's name")
        try:
            root = self._locked(name)
            for each in (*(root / folder for folder in FOLDERS), root):
                each.mkdir(mode=0o700, exist_ok=True)
                each.chmod(0o700)
                if self.user.other:
                    os.chown(each, self.user.uid, self.user.gid)
        except OSError as error:
            raise SandboxFailed(f"cannot make a workspace: {error}") from error
        return root

    def make_for_all(self, name: str) -> Path:
        """Make a directory of the worker's that builds may read, for `remove` to delete.

        Raises `SandboxFailed`.
        """
        try:
            root = self._locked(name)
            root.chmod(0o755)
        except OSError as error:
            raise SandboxFailed(f"cannot make {name}/: {error}") from error
        return root

    def _locked(self, name: str) -> Path:
        """Make a directory, locked until it is removed or this process ends. Raises `OSError`."""
        while True:
            root = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.folder))
            try:
                fd = os.open(root, _FOLDER)
            except FileNotFoundError:  # another worker's sweep has deleted it
                continue
            fcntl.flock(fd, fcntl.LOCK_EX)
            if os.fstat(fd).st_nlink:  # else a sweep has deleted it before the lock
                self._locks[root] = fd
                return root
            os.close(fd)

    def sweep(self) -> None:
        """Delete the workspaces that no worker has locked; log what cannot be deleted."""
        for each in self.folder.iterdir():
            try:
                fd = os.open(each, _FOLDER)
            except OSError:
                continue  # gone meanwhile, or no directory and so none of ours
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                delete_tree(each)
                about = {"build_id": each.name.partition("-")[0]}
                log.info("deleted %s, which a worker had left", each, extra=about)
            except BlockingIOError:
                pass
            except OSError as error:
                log.warning("cannot delete %s: %s", each, error)
            finally:
                os.close(fd)

    def write_script(self, root: Path, script: str) -> str:
        """Write a file in `root` that only the build's user can read; return its name there.

        Raises `SandboxFailed`.
        """
        name = f"script-{secrets.token_hex(8)}"
        try:
            folder = os.open(root, _FOLDER)
            try:
                file = os.open(name, _NEW_FILE, 0o400, dir_fd=folder)
                with os.fdopen(file, "w", encoding="utf-8", errors="surrogateescape") as text:
                    if self.user.other:
                        os.fchown(file, self.user.uid, self.user.gid)
                    text.write(script)
            finally:
                os.close(folder)
        except OSError as error:
            raise SandboxFailed(f"cannot write the script: {error}") from error
        return name

    def restore(self, root: Path, name: str) -> None:
        """Make a directory `name` in `root` again, if a step has deleted or replaced it.

        Raises `SandboxFailed`.
        """
        try:
            folder = os.open(root, _FOLDER)
            try:
                try:
                    found = os.stat(name, dir_fd=folder, follow_symlinks=False)
                except FileNotFoundError:
                    pass
                else:
                    if stat.S_ISDIR(found.st_mode):
                        return
                    os.unlink(name, dir_fd=folder)
                os.mkdir(name, 0o700, dir_fd=folder)
                if self.user.other:
                    os.chown(
                        name,
                        self.user.uid,
                        self.user.gid,
                        dir_fd=folder,
                        follow_symlinks=False,
                    )
            finally:
                os.close(folder)
        except OSError as error:
            raise SandboxFailed(f"cannot restore {name}/: {error}") from error

    def remove(self, root: Path) -> None:
        """Delete what `make` or `make_for_all` returned; safe to call twice.

        Raises `SandboxFailed`.
        """
        if root.parent != self.folder:
            raise SandboxFailed(f"{root} is not a workspace of {self.folder}")
        try:
            delete_tree(root)
        except OSError as error:
            raise SandboxFailed(f"cannot delete the workspace: {error}") from error
        finally:
            lock = self._locks.pop(root, None)
            if lock is not None:
                os.close(lock)

    def _secure(self) -> None:
        """Make `folder`; check that the worker owns it and the build's user can pass through.

        Raises `SandboxFailed`, `OSError`.
        """
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            self.folder.mkdir(mode=0o711)
        except FileExistsError:
            if self.folder.is_symlink():
                raise SandboxFailed(f"{self.folder} is a symbolic link, not a directory") from None
        fd = os.open(self.folder, _FOLDER)
        try:
            owner = os.fstat(fd).st_uid
            if owner != os.geteuid():
                raise SandboxFailed(
                    f"{self.folder} belongs to uid {owner}, not to the worker (uid {os.geteuid()})"
                )
            os.fchmod(fd, 0o711)
        finally:
            os.close(fd)
        if self.user.other:
            for each in self.folder.resolve().parents:
                if not self.user.may_enter(each):
                    raise SandboxFailed(
                        f"builds run as uid {self.user.uid}, which may not enter {each}:"
                        f" put the workspaces elsewhere than {self.folder}"
                    )
