"""The process that starts a worker's commands: one for many, and another when it was killed."""

import os
import signal
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from tests.support.waiting import wait_until
from tests.support.worker.sandboxed import (
    command,
    drain,
    new_marker,
    place,
    processes_with,
    read_until,
    run,
    sandbox_of,
    workspace_in,
)
from worker.errors import SandboxFailed
from worker.sandbox import Sandbox, Workspace
from worker.sandbox.choice import SANDBOXES


@pytest.fixture(params=list(SANDBOXES))
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    with place() as workspaces:
        yield sandbox_of(request.param, workspaces)


@pytest.fixture
def workspace(sandbox: Sandbox) -> Iterator[Workspace]:
    with workspace_in(sandbox) as made:
        yield made


def launchers() -> list[int]:
    """The launchers of this process, by their command lines."""
    below = [
        int(pid)
        for thread in Path(f"/proc/{os.getpid()}/task").iterdir()
        for pid in (thread / "children").read_text().split()
    ]
    return [pid for pid in below if b"launcher.py" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def test_one_launcher_serves_all_commands_and_ends_with_its_sandbox(
    sandbox: Sandbox, workspace: Workspace
) -> None:
    seen = set()
    for number in range(5):
        assert run(sandbox, workspace, command(workspace, f"exit {number}")).status == number
        seen.update(launchers())
    assert len(seen) == 1
    sandbox.close()
    assert launchers() == []


def test_a_launcher_that_was_killed_is_replaced(sandbox: Sandbox, workspace: Workspace) -> None:
    assert run(sandbox, workspace, command(workspace, "echo one")).output == "one\n"
    (before,) = launchers()
    os.kill(before, signal.SIGKILL)
    os.waitid(os.P_PID, before, os.WEXITED | os.WNOWAIT)
    assert run(sandbox, workspace, command(workspace, "echo two")).output == "two\n"
    assert launchers() != [before]


def test_a_command_ends_for_sure_when_its_launcher_was_killed(
    sandbox: Sandbox, workspace: Workspace
) -> None:
    marker = new_marker()
    with closing(
        sandbox.start(command(workspace, f"echo ready; sleep {marker}"), workspace)
    ) as process:
        read_until(process, "ready")
        os.kill(launchers()[0], signal.SIGKILL)
    drain(process)
    wait_until("nothing is left", lambda: not processes_with(marker))


def test_a_command_line_that_is_too_long_does_not_run_and_the_next_one_does(
    sandbox: Sandbox, workspace: Workspace
) -> None:
    what = command(workspace, argv=("/bin/echo", "x" * 10_000_000))
    with suppress(SandboxFailed):  # or as a shell has it
        assert run(sandbox, workspace, what).status == 126
    assert run(sandbox, workspace, command(workspace, "echo on")).output == "on\n"
