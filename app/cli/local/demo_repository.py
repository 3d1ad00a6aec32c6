"""`make_repository` makes what `baton demo` builds: two commits, and three steps of a moment."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from app.cli.local.stack import StackError
from app.contract.spec import Step

STEPS: Final = [
    Step(name="compile", run="sh compile.sh"),
    Step(name="test", run="sh test.sh"),
    Step(name="package", run="sh package.sh", env={"VERSION": "2"}),
]

#: What the log must show, in this order.
EXPECTED: Final = (
    b"compiling part 1",
    b"compiling part 3",
    b"3 tests passed",
    b"packed site-2.tar",
)

_FIRST: Final = {
    "README": "A site, for a tour of Baton.\n",
    "compile.sh": 'for n in 1 2 3; do echo "compiling part $n"; sleep 0.4; done\n',
    "test.sh": "echo 'no tests yet'; exit 1\n",
}
_SECOND: Final = {
    "test.sh": "for n in 1 2 3; do echo \"test $n: ok\"; sleep 0.3; done; echo '3 tests passed'\n",
    "package.sh": (
        'echo "build $BATON_BUILD_ID at $BATON_REF"\n'
        'tar -cf "site-$VERSION.tar" README && echo "packed site-$VERSION.tar"\n'
    ),
}


def make_repository(path: Path) -> str:
    """Make the repository at `path`, which must not exist; return the id of its last commit.

    Raises `StackError` when git is missing or fails.
    """
    if shutil.which("git") is None:
        raise StackError("git is needed: the demo builds a git repository")
    path.mkdir()
    _git(path, "init", "--quiet", "--initial-branch=main")
    for message, files in (("Begin", _FIRST), ("Add tests", _SECOND)):
        for name, text in files.items():
            (path / name).write_text(text, encoding="utf-8")
        _git(path, "add", "--all")
        _git(path, "commit", "--quiet", "--message", message)
    return _git(path, "rev-parse", "HEAD")


def _git(path: Path, *arguments: str) -> str:
    """Run git without the user's own configuration; return its output. Raises `StackError`."""
    own = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    identity = ("-c", "user.name=Ann", "-c", "user.email=ann@example.com")
    done = subprocess.run(
        ["git", "-C", str(path), *identity, *arguments],
        check=False, capture_output=True, text=True, env={**os.environ, **own},
    )  # fmt: skip
    if done.returncode:
        raise StackError(f"git {arguments[0]} failed: {done.stderr.strip()}")
    return done.stdout.strip()
