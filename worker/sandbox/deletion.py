"""`delete_tree` deletes a directory tree that a hostile build has filled.

The tree may have any permissions, any depth and any number of entries; symbolic links are never
followed. One directory is open at a time, entries are named relative to it, and the way back up is
checked at each level: a directory that is moved meanwhile ends the deletion instead of leading it
out of the tree.
"""

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_ALL_OURS: Final = 0o700


@dataclass(kw_only=True, slots=True)
class _Level:
    """A `_Level` is a directory on the way down."""

    key: tuple[int, int]  #: device and inode
    name: str  #: in the directory above
    folders: list[str]  #: directories in it that are still to be deleted


def delete_tree(root: Path) -> None:
    """Delete `root` and all below it, if it exists.

    The build that filled the tree must have no access to `root`'s own parent. Raises `OSError` for
    what cannot be deleted, and when the tree is changed meanwhile.
    """
    try:
        fd = _enter(str(root), None)
    except FileNotFoundError:
        return
    try:
        way = [_Level(key=_key(fd), name=str(root), folders=_clear(fd))]
        while True:
            here = way[-1]
            if here.folders:
                name = here.folders.pop()
                fd = _move(fd, name)
                way.append(_Level(key=_key(fd), name=name, folders=_clear(fd)))
            elif len(way) > 1:
                way.pop()
                fd = _move(fd, "..")
                if _key(fd) != way[-1].key:
                    raise OSError(f"{root} was changed while it was deleted")
                os.rmdir(here.name, dir_fd=fd)
            else:
                break
    finally:
        os.close(fd)
    root.rmdir()


def _clear(fd: int) -> list[str]:
    """Delete all entries of an open directory but its directories; return the names of those."""
    folders = []
    with os.scandir(fd) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.name)
            else:
                os.unlink(entry.name, dir_fd=fd)
    return folders


def _move(fd: int, name: str) -> int:
    """Open the directory `name` of the open directory `fd`, and close that one."""
    there = os.open("..", _FOLDER, dir_fd=fd) if name == ".." else _enter(name, fd)
    os.close(fd)
    return there


def _enter(name: str, dir_fd: int | None) -> int:
    """Open a directory; chmod it first, unless this process is root and needs no rights."""
    if os.geteuid() != 0 and stat.S_ISDIR(os.lstat(name, dir_fd=dir_fd).st_mode):
        os.chmod(name, _ALL_OURS, dir_fd=dir_fd)
    return os.open(name, _FOLDER, dir_fd=dir_fd)


def _key(fd: int) -> tuple[int, int]:
    found = os.fstat(fd)
    return found.st_dev, found.st_ino
