"""`build_user` says which user builds run as."""

import os
import pwd
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypedDict

from worker.errors import SandboxFailed

NOBODY: Final = 65534


class Identity(TypedDict, total=False):
    """`Identity` holds the arguments of `subprocess.Popen` that change the user."""

    user: int
    group: int
    extra_groups: list[int]


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildUser:
    """A `BuildUser` is the user and group of this host that builds run as."""

    uid: int
    gid: int
    other: bool  #: whether it is not the worker's own user

    @property
    def identity(self) -> Identity:
        """The arguments that have `Popen` start a program as this user, with only its own group."""
        if not self.other:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def may_enter(self, folder: Path) -> bool:
        """Whether this user, with only its own group, may pass through `folder`."""
        found = folder.stat()
        if found.st_uid == self.uid:
            return bool(found.st_mode & 0o100)
        return bool(found.st_mode & (0o010 if found.st_gid == self.gid else 0o001))


def build_user(run_as: int | None) -> BuildUser:
    """Return the user of uid `run_as`; by default nobody for root, else the worker's own user.

    Raises `SandboxFailed` for root, and for another user where the worker is not root.
    """
    own = os.geteuid()
    uid = run_as if run_as is not None else (own or NOBODY)
    if uid == 0:
        raise SandboxFailed("builds do not run as root: name another user for them")
    if uid == own:
        return BuildUser(uid=own, gid=os.getegid(), other=False)
    if own != 0:
        raise SandboxFailed(
            f"builds shall run as uid {uid}, but only a worker that runs as root can do that;"
            f" this one has uid {own}"
        )
    try:
        gid = pwd.getpwuid(uid).pw_gid
    except KeyError:
        gid = uid
    if gid == 0:
        raise SandboxFailed(f"builds do not run in root's group, but uid {uid} has no other")
    return BuildUser(uid=uid, gid=gid, other=True)
