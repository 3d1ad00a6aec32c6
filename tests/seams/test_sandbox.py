"""What every sandbox keeps to."""

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import get_args

import pytest

from tests.support.waiting import wait_until
from tests.support.worker.sandboxed import (
    ENV,
    command,
    drain,
    new_marker,
    place,
    processes_with,
    read_until,
    run,
    sandbox_of,
    user_of_this_run,
    workspace_in,
)
from worker.sandbox import Limits, Sandbox, Workspace
from worker.sandbox.choice import SANDBOXES, Name

NAMES = list(SANDBOXES)


@pytest.fixture
def workspaces() -> Iterator[Path]:
    with place() as folder:
        yield folder


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> Name:
    assert request.param in get_args(Name)
    found: Name = request.param
    return found


@pytest.fixture
def sandbox(name: Name, workspaces: Path) -> Sandbox:
    return sandbox_of(name, workspaces)


@pytest.fixture
def workspace(sandbox: Sandbox) -> Iterator[Workspace]:
    with workspace_in(sandbox) as made:
        yield made


@pytest.mark.parametrize(
    ("script", "status"),
    [
        ("exit 0", 0),
        ("exit 3", 3),
        ("exit 255", 255),
        ("false; exit 0", 1),  # `-e` is on the command line
        ("kill -TERM $$", 143),
        ("kill -KILL $$", 137),
        ("kill -SEGV $$", 139),
    ],
)
def test_the_exit_status_is_that_of_the_first_process(
    sandbox: Sandbox, workspace: Workspace, script: str, status: int
) -> None:
    ended = run(sandbox, workspace, command(workspace, script))
    assert (ended.status, ended.output) == (status, "")


def test_a_missing_program_is_127(sandbox: Sandbox, workspace: Workspace) -> None:
    ended = run(sandbox, workspace, command(workspace, argv=("no-such-program", "x")))
    assert ended.status == 127
    assert "no-such-program" in ended.output


def test_a_program_that_cannot_be_executed_is_126(sandbox: Sandbox, workspace: Workspace) -> None:
    ended = run(sandbox, workspace, command(workspace, argv=("/usr/share",)))
    assert ended.status == 126
    assert "/usr/share" in ended.output


def test_the_environment_is_the_one_given_and_nothing_else(
    sandbox: Sandbox, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATON_BROKER_URL", "redis://:secret@broker/0")
    env = {**ENV, "EMPTY": "", "LINES_OF": "one\ntwo", "WORD": "grün = 'quoted' $HOME \\"}
    ended = run(sandbox, workspace, command(workspace, argv=("env", "-0"), env=env))
    assert dict(item.split("=", 1) for item in ended.output.split("\0") if item) == env


def test_arguments_arrive_as_they_are(sandbox: Sandbox, workspace: Workspace) -> None:
    arguments = ["", "two words", "--", "-n", "$HOME", "a'b\"c", "line\nbreak"]
    script = 'for each; do printf "<%s>" "$each"; done'
    ended = run(sandbox, workspace, command(workspace, argv=("sh", "-c", script, "sh", *arguments)))
    assert ended.output == "".join(f"<{each}>" for each in arguments)


def test_stdin_is_empty_and_no_other_descriptor_is_open(
    sandbox: Sandbox, workspace: Workspace
) -> None:
    ended = run(sandbox, workspace, command(workspace, "cat; ls /proc/self/fd"))
    assert ended.output.split() == ["0", "1", "2", "3"]  # 3 is ls, looking


def test_a_build_is_an_unprivileged_user_who_owns_its_three_directories(
    sandbox: Sandbox, workspace: Workspace
) -> None:
    places = f"{workspace.source} {workspace.home} {workspace.tmp}"
    script = (
        f'for each in {places}; do stat -c "%a %u" $each; echo x > $each/file; done; id -u; pwd'
    )
    *folders, uid, cwd = run(sandbox, workspace, command(workspace, script)).output.split("\n")[:-1]
    assert uid != "0"
    assert folders == [f"700 {uid}"] * 3
    assert cwd == str(workspace.source)


def test_privileges_cannot_be_gained(sandbox: Sandbox, workspace: Workspace) -> None:
    ended = run(
        sandbox, workspace, command(workspace, "grep -E 'NoNewPrivs|CapEff' /proc/self/status")
    )
    assert re.findall(r"\w+$", ended.output, re.MULTILINE) == ["0" * 16, "1"]


def test_a_workspace_lasts_from_command_to_command(sandbox: Sandbox, workspace: Workspace) -> None:
    run(sandbox, workspace, command(workspace, "echo kept > file"))
    assert run(sandbox, workspace, command(workspace, "cat file")).output == "kept\n"


def test_output_and_errors_come_in_order(sandbox: Sandbox, workspace: Workspace) -> None:
    ended = run(sandbox, workspace, command(workspace, "echo 1; echo 2 >&2; echo 3; echo 4 >&2"))
    assert ended.output == "1\n2\n3\n4\n"


def test_a_hundred_megabytes_without_a_newline_flow(sandbox: Sandbox, workspace: Workspace) -> None:
    total = 100_000_000
    what = command(workspace, argv=("head", "-c", str(total), "/dev/zero"))
    with closing(sandbox.start(what, workspace)) as process:
        count = 0
        while more := os.read(process.output, 1 << 20):
            count += len(more)
        os.close(process.output)
        assert (process.wait(30), count) == (0, total)


def test_a_command_that_closed_its_output_is_still_waited_for(
    sandbox: Sandbox, workspace: Workspace
) -> None:
    script = "exec >/dev/null 2>&1; until [ -e go ]; do sleep 0.02; done; exit 7"
    with closing(sandbox.start(command(workspace, script), workspace)) as process:
        assert process.wait(0.3) is None
        (workspace.root / "source" / "go").touch()
        assert process.wait(30) == 7
        assert drain(process) == ""


def test_a_reader_who_goes_away_does_not_keep_a_command_alive(
    sandbox: Sandbox, workspace: Workspace
) -> None:
    with closing(sandbox.start(command(workspace, argv=("yes",)), workspace)) as process:
        read_until(process, "y")
        os.close(process.output)
        assert process.wait(30) == 128 + 13  # SIGPIPE


def test_terminate_reaches_grandchildren(sandbox: Sandbox, workspace: Workspace) -> None:
    script = """
    trap 'wait; exit 9' TERM
    (sh -c 'trap "echo the grandchild heard; exit 0" TERM; echo ready
            while :; do sleep 0.02; done') &
    wait
    """
    with closing(sandbox.start(command(workspace, script), workspace)) as process:
        read_until(process, "ready")
        process.terminate()
        assert "the grandchild heard" in drain(process)
        assert process.wait(30) == 9
        process.terminate()  # late, and without effect


def test_what_ignores_sigterm_is_gone_after_close(sandbox: Sandbox, workspace: Workspace) -> None:
    marker = new_marker()
    script = f"trap '' TERM; sleep {marker} & setsid sleep {marker} & echo ready; sleep {marker}"
    process = sandbox.start(command(workspace, script), workspace)
    read_until(process, "ready")
    wait_until("all three sleep", lambda: len(processes_with(marker)) == 3)
    process.terminate()
    assert process.wait(0.3) is None
    assert len(processes_with(marker)) == 3
    process.close()
    assert processes_with(marker) == []
    process.close()
    assert process.wait(1) == 137
    assert drain(process) == ""


DAEMON = """
(exec >/dev/null 2>&1
 setsid setsid sh -c 'trap "" TERM HUP; echo $$ > started; exec sleep {0}' &)
until [ -s started ]; do sleep 0.02; done
"""


def test_a_daemon_is_gone_when_the_first_process_has_ended(
    sandbox: Sandbox, workspace: Workspace
) -> None:
    marker = new_marker()
    ended = run_without_close(sandbox, workspace, DAEMON.format(marker) + "exit 5", marker)
    assert ended == 5


def run_without_close(
    sandbox: Sandbox, workspace: Workspace, script: str, marker: str
) -> int | None:
    process = sandbox.start(command(workspace, script), workspace)
    try:
        status = process.wait(30)
        assert processes_with(marker) == []
    finally:
        process.close()
        os.close(process.output)
    return status


def test_a_daemon_that_holds_the_output_open_does_not_hold_up_the_end(
    sandbox: Sandbox, workspace: Workspace
) -> None:
    marker = new_marker()
    script = f"(setsid sh -c 'echo up; exec sleep {marker}' &); exit 5"
    ended = run(sandbox, workspace, command(workspace, script))
    assert ended.status == 5
    assert processes_with(marker) == []


def test_a_daemon_is_gone_after_close(sandbox: Sandbox, workspace: Workspace) -> None:
    marker = new_marker()
    script = DAEMON.format(marker) + f"echo ready; sleep {marker}"
    with closing(sandbox.start(command(workspace, script), workspace)) as process:
        read_until(process, "ready")
        wait_until("both sleep", lambda: len(processes_with(marker)) == 2)
    assert processes_with(marker) == []
    os.close(process.output)


def test_a_fork_bomb_is_bounded_and_gone_after_close(name: Name, workspaces: Path) -> None:
    limits = Limits(memory_bytes=1 << 30, processes=60, file_bytes=1 << 30)
    sandbox = sandbox_of(name, workspaces, limits, run_as=user_of_this_run())
    marker = new_marker()
    # Shells give up when a fork is refused, so that a bomb may burn out; the sleepers stay.
    sleepers = f"i=0; while [ $i -lt 30 ]; do sleep {marker} & i=$((i + 1)); done"
    bomb = "bomb() { bomb & bomb & wait; bomb; }; bomb &"
    with workspace_in(sandbox) as workspace:
        what = command(workspace, argv=("sh", "-c", f"{sleepers}; {bomb} wait"))
        with closing(sandbox.start(what, workspace)) as process:
            read_until(process, "fork")  # "Cannot fork", "fork: Resource …"
            # Without root, what else the user runs meanwhile plays a part in `process`.
            assert 30 <= len(processes_with(marker)) <= 2 * limits.processes
        assert processes_with(marker) == []
        os.close(process.output)


def test_processes_that_fork_and_end_at_once_do_not_escape(
    sandbox: Sandbox, workspace: Workspace
) -> None:
    marker = new_marker()
    script = f"echo ready; run() {{ (run &) ; exit 0; }}; : {marker}; run"
    what = command(workspace, argv=("sh", "-c", script))
    with closing(sandbox.start(what, workspace)) as process:
        read_until(process, "ready")
    assert processes_with(marker) == []
    os.close(process.output)


def test_more_memory_than_allowed_is_refused(name: Name, workspaces: Path) -> None:
    limits = Limits(memory_bytes=256 << 20, processes=60, file_bytes=1 << 30)
    sandbox = sandbox_of(name, workspaces, limits)
    with workspace_in(sandbox) as workspace:
        for megabytes, fits in ((16, True), (400, False)):
            argv = ("dd", "if=/dev/zero", "of=/dev/null", "count=1", f"bs={megabytes}M")
            ended = run(sandbox, workspace, command(workspace, argv=argv))
            assert (ended.status == 0) is fits, ended.output


def test_a_file_larger_than_allowed_is_refused(name: Name, workspaces: Path) -> None:
    limits = Limits(memory_bytes=1 << 30, processes=60, file_bytes=1_000_000)
    sandbox = sandbox_of(name, workspaces, limits)
    with workspace_in(sandbox) as workspace:
        script = "head -c 1000000 /dev/zero > fits; head -c 1000001 /dev/zero > large"
        ended = run(sandbox, workspace, command(workspace, script))
        assert ended.status == 128 + 25  # SIGXFSZ
        assert (workspace.root / "source" / "large").stat().st_size == 1_000_000


def test_limits_are_hard(name: Name, workspaces: Path) -> None:
    limits = Limits(memory_bytes=1 << 30, processes=60, file_bytes=1 << 20, open_files=99)
    sandbox = sandbox_of(name, workspaces, limits)
    with workspace_in(sandbox) as workspace:
        found = run(sandbox, workspace, command(workspace, "cat /proc/self/limits")).output
    for line in (
        "Max core file size +0 +0",
        "Max open files +99 +99",
        "Max file size +1048576 +1048576",
    ):
        assert re.search(line, found), found
    (soft, hard), *_ = re.findall(r"Max processes +(\d+) +(\d+)", found)
    assert soft == hard


def test_a_script_is_read_by_its_build_only(sandbox: Sandbox, workspace: Workspace) -> None:
    secret = secrets.token_hex(8)
    ended = run(sandbox, workspace, command(workspace, f"stat -c %a $0; # {secret}"))
    assert ended.output == "400\n"
    assert workspace.root.stat().st_mode & 0o777 == 0o700


def test_a_step_cannot_redirect_what_the_worker_writes(
    sandbox: Sandbox, workspace: Workspace, workspaces: Path
) -> None:
    """Root would follow a link that a step has put where the next step's files go."""
    victim = workspaces / "victim"
    victim.mkdir()
    root = workspace.source.parent
    run(sandbox, workspace, command(workspace, f"cd {root}; rm -rf tmp; ln -s {victim} tmp"))
    run(sandbox, workspace, command(workspace, "true"))
    assert list(victim.iterdir()) == []
    victim.rmdir()


def test_a_workspace_is_removed_whatever_its_permissions(sandbox: Sandbox) -> None:
    workspace = sandbox.workspace("bld_locked")
    script = """
    mkdir -p a/b/c; echo x > a/b/c/file; ln -s / a/root; mkfifo a/pipe; cd ..
    chmod 000 source/a/b/c/file source/a/b/c source/a/b source/a source home tmp
    chmod 000 .
    """
    assert run(sandbox, workspace, command(workspace, script)).status == 0
    sandbox.remove(workspace)
    assert not workspace.root.exists()
    sandbox.remove(workspace)
    assert Path("/etc/passwd").exists()
