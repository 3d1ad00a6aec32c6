"""What holds between a build and the worker process that runs it, in every sandbox.

The worker is a process of its own here: as the tests' own user, and as an unprivileged one, whose
builds are the same user as itself where the sandbox cannot help that.
"""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.needs import missing, needs
from tests.support.waiting import wait_until
from tests.support.worker.sandboxed import new_marker, processes_with
from worker.sandbox.choice import SANDBOXES
from worker.sandbox.user import NOBODY, Identity

REPOSITORY = Path(__file__).parents[2]
PROGRAM = Path(__file__).with_name("sandboxing_worker.py")

#: Through these, one process may see another's secrets.
SPY = """
for each in /proc/[0-9]*; do
    cat $each/environ $each/cmdline 2>/dev/null
    ls -l $each/fd $each/cwd 2>/dev/null
done
env
set
echo the spy is done
"""


@pytest.fixture(params=list(SANDBOXES))
def name(request: pytest.FixtureRequest) -> str:
    found = str(request.param)
    if found == "bubblewrap":
        needs("bwrap")
    return found


@pytest.fixture(params=["own", "unprivileged"])
def user(request: pytest.FixtureRequest) -> Identity:
    """Who the worker runs as. Without root, both are the same."""
    if request.param == "own" or os.geteuid() != 0:
        return {}
    return {"user": NOBODY, "group": NOBODY, "extra_groups": []}


def python_for(user: Identity) -> str:
    """A Python that this user can run: not every interpreter lies where others may read."""
    candidates = [sys.executable, shutil.which("python3", path="/usr/bin:/usr/local/bin")]
    for candidate in filter(None, candidates):
        if _runs(candidate, user):
            return candidate
    return missing("no Python from 3.11 on that an unprivileged user can run")


def _runs(python: str, user: Identity) -> bool:
    old = "import sys; sys.exit(sys.version_info < (3, 11))"
    try:
        return subprocess.run([python, "-c", old], check=False, cwd="/", **user).returncode == 0
    except PermissionError:
        return False


@contextmanager
def worker(
    name: str, user: Identity, script: str, *, hide: bool = True, env: dict[str, str] | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    folder = Path(tempfile.mkdtemp(prefix="baton-test-"))
    folder.chmod(0o777)
    process = subprocess.Popen(
        [
            python_for(user), str(PROGRAM), name, str(folder / "workspaces"),
            "yes" if hide else "no", script,
        ],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY), **(env or {})},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd="/", **user,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        yield process
    finally:
        process.kill()
        process.wait(30)
        process.stdout.close()
        shutil.rmtree(folder)


def output_of(process: "subprocess.Popen[bytes]") -> str:
    assert process.stdout is not None
    return process.stdout.read().decode(errors="replace")


def read_line(process: "subprocess.Popen[bytes]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().decode()


def test_a_build_cannot_see_the_workers_secrets(name: str, user: Identity) -> None:
    secret = secrets.token_hex(16)
    env = {"BATON_BROKER_URL": f"redis://:{secret}@broker/0", "TOKEN": secret}
    with worker(name, user, SPY, env=env) as process:
        output = output_of(process)
    assert "the spy is done" in output
    assert secret not in output


def test_a_worker_of_the_same_user_that_does_not_hide_is_seen() -> None:
    """The spy is a good one: it finds what is not hidden."""
    secret = secrets.token_hex(16)
    user: Identity = (
        {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
    )
    with worker("process", user, SPY, hide=False, env={"TOKEN": secret}) as process:
        output = output_of(process)
    assert secret in output


def test_kill_9_of_the_worker_leaves_no_process(name: str, user: Identity) -> None:
    marker = new_marker()
    script = f"""
    trap '' TERM HUP INT
    (setsid setsid sh -c 'trap "" TERM HUP; : daemon; sleep {marker}' >/dev/null 2>&1 &)
    sh -c 'exec >/dev/null 2>&1; sleep {marker}' &
    echo ready
    sleep {marker}
    """
    with worker(name, user, script) as process:
        assert read_line(process) == "ready\n"
        # The worker itself has the script, and with it the marker, among its arguments.
        wait_until("all sleep", lambda: len(processes_with(marker)) >= 4)
        process.send_signal(signal.SIGKILL)
        process.wait(30)
        wait_until("nothing is left", lambda: not processes_with(marker))
