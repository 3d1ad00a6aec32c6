"""Packages of npm that tests use: installed by their lock, once, into the user's cache.

CI must have Node and npm. Where the packages cannot be had, the tests are skipped with the reason,
in CI as well: a registry that is away says nothing about Baton.
"""

import contextlib
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final, NoReturn

import pytest

from tests.support.needs import missing, needs

_OLDEST_NODE: Final = 18
#: Seconds for npm.
_INSTALL: Final = 120


def node(otherwise: str) -> str:
    """Node's path; without one that is new enough, the test is skipped: `otherwise` says what was
    not tested."""
    path = needs("node")
    done = subprocess.run([path, "--version"], capture_output=True, text=True, check=True)
    if int(done.stdout.strip().removeprefix("v").split(".")[0]) < _OLDEST_NODE:
        _skip(f"Node {_OLDEST_NODE} or later is needed, this is {done.stdout.strip()}", otherwise)
    return path


def packages(sources: Path, otherwise: str) -> Path:
    """The folder with the packages of `sources/package-lock.json`, installed on first use."""
    program = node(otherwise)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "baton-tests"
    folder = cache / f"{sources.name.replace('_', '-')}-{digest(sources / 'package-lock.json')}"
    if folder.exists():
        return folder
    npm = shutil.which("npm") or missing(f"npm is not installed: {otherwise}")
    cache.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix="draft-", dir=cache))
    for name in ("package.json", "package-lock.json"):
        shutil.copyfile(sources / name, draft / name)
    try:
        done = subprocess.run(
            [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
            cwd=draft,
            env={**os.environ, "PATH": f"{Path(program).parent}{os.pathsep}{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            timeout=_INSTALL,
            check=False,
        )
        why = f"{done.stdout}{done.stderr}"[-500:] if done.returncode else ""
    except subprocess.TimeoutExpired:
        why = f"it took longer than {_INSTALL} s"
    if why:
        shutil.rmtree(draft)
        _skip(f"npm cannot install what {sources.name} needs: {why}", otherwise)
    with contextlib.suppress(OSError):  # somebody else was faster
        draft.rename(folder)  # appears whole or not at all
    shutil.rmtree(draft, ignore_errors=True)
    return folder


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def _skip(why: str, otherwise: str) -> NoReturn:
    pytest.skip(f"{why}: {otherwise}")
