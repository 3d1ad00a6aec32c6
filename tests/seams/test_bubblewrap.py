"""What bubblewrap gives beyond what every sandbox keeps to: walls."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.support.needs import needs
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
from worker.sandbox import Limits, Sandbox, Workspace, etc


@pytest.fixture
def workspaces() -> Iterator[Path]:
    with place() as folder:
        yield folder


@pytest.fixture
def sandbox(workspaces: Path) -> Sandbox:
    return sandbox_of("bubblewrap", workspaces)


@pytest.fixture
def workspace(sandbox: Sandbox) -> Iterator[Workspace]:
    with workspace_in(sandbox) as made:
        yield made


@contextmanager
def greeter() -> Iterator[int]:
    """A listener on this host's loopback that says hello; its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def greet() -> None:
            while True:
                try:
                    peer, _ = listener.accept()
                except OSError:
                    return
                with peer:
                    peer.sendall(b"hello\n")

        thread = threading.Thread(target=greet)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(10)


def test_there_is_no_network(sandbox: Sandbox, workspace: Workspace) -> None:
    needs("bash")
    with greeter() as port:
        script = f"read line < /dev/tcp/127.0.0.1/{port} && echo $line"
        ended = run(sandbox, workspace, command(workspace, argv=("bash", "-c", script)))
        assert ended.status != 0
        assert "hello" not in ended.output
    script = "sed 1,2d /proc/net/dev | cut -d: -f1"
    assert run(sandbox, workspace, command(workspace, script)).output.split() == ["lo"]


def test_a_command_that_is_given_the_network_has_it(sandbox: Sandbox, workspace: Workspace) -> None:
    needs("bash")
    with greeter() as port:
        script = f"read line < /dev/tcp/127.0.0.1/{port} && echo $line"
        what = command(workspace, argv=("bash", "-c", script), network=True)
        assert run(sandbox, workspace, what).output == "hello\n"


def test_only_the_workspace_can_be_written(sandbox: Sandbox, workspace: Workspace) -> None:
    script = """
    for folder in $(find / -xdev -type d) /usr /etc/ssl/certs /dev /proc/sys /run /var; do
        case $folder in /build*|/tmp*|/proc/[0-9]*) continue;; esac
        if touch $folder/x 2>/dev/null; then echo written: $folder; fi
    done
    for folder in . $HOME_ /tmp /var/tmp /dev/shm; do echo x > $folder/x && echo $folder; done
    ls ../tmp
    """
    ended = run(sandbox, workspace, command(workspace, script.replace("$HOME_", "../home")))
    assert ended.output.split() == [".", "../home", "/tmp", "/var/tmp", "/dev/shm", "x"]


def test_the_host_is_not_to_be_seen(sandbox: Sandbox, workspace: Workspace) -> None:
    places = ["/root", "/home", "/etc/shadow", "/etc/ssh", "/etc/gitconfig", "/sys", "/opt", "/srv"]
    places += ["/var/lib", "/var/log", "/var/run", "/mnt", str(workspace.root)]
    script = f"for each in {' '.join(places)}; do if [ -e $each ]; then echo $each; fi; done"
    assert run(sandbox, workspace, command(workspace, script)).output == ""
    found = run(sandbox, workspace, command(workspace, "cat /etc/passwd; id -un; hostname")).output
    assert str(os.getpid()) not in found
    assert found.startswith("build:x:1000:1000:")
    assert found.endswith("\nbuild\nbaton\n")


def test_no_other_process_is_to_be_seen(sandbox: Sandbox, workspace: Workspace) -> None:
    marker = new_marker()
    with closing(
        sandbox.start(command(workspace, f"echo ready; sleep {marker}"), workspace)
    ) as other:
        read_until(other, "ready")
        script = "for each in /proc/[0-9]*; do tr '\\0' ' ' < $each/cmdline; echo; done"
        with workspace_in(sandbox) as second:
            lines = run(sandbox, second, command(second, script)).output.splitlines()
        os.close(other.output)
    assert len(lines) == 2, lines  # the first process of the namespace, and the script
    assert not any(marker in line for line in lines)


def test_values_of_the_environment_are_in_no_command_line(
    sandbox: Sandbox, workspace: Workspace
) -> None:
    marker = new_marker()
    env = {"PATH": "/usr/bin:/bin", "KEY": marker}
    what = command(workspace, argv=("sh", "-c", "echo ready; sleep 600"), env=env)
    with closing(sandbox.start(what, workspace)) as process:
        read_until(process, "ready")
        assert processes_with(marker) == []
    os.close(process.output)


def test_processes_are_counted_for_each_command_alone(workspaces: Path) -> None:
    """All builds run as one user; in a user namespace, RLIMIT_NPROC does not add them up."""
    limits = Limits(memory_bytes=1 << 30, processes=30, file_bytes=1 << 20)
    sandbox = sandbox_of("bubblewrap", workspaces, limits)
    twenty = "i=0; while [ $i -lt 20 ]; do sleep 600 & i=$((i+1)); done; echo ready"
    with workspace_in(sandbox) as first, workspace_in(sandbox) as second:
        with closing(sandbox.start(command(first, f"{twenty}; wait"), first)) as process:
            read_until(process, "ready")
            assert run(sandbox, second, command(second, twenty)).output == "ready\n"
            ended = run(sandbox, second, command(second, f"{twenty}; {twenty}"))
            assert ended.status != 0
            assert ended.output.startswith("ready\n")
        drain(process)


def test_given_paths_can_be_read_and_nothing_beside_them(
    sandbox: Sandbox, workspace: Workspace, workspaces: Path
) -> None:
    given, other = workspaces.parent / "given", workspaces.parent / "other"
    for folder in (given, other):
        folder.mkdir()
        (folder / "file").write_text("content\n")
    script = f"cat {given}/file; ls {other} 2>/dev/null; echo x > {given}/file || exit 4"
    ended = run(sandbox, workspace, command(workspace, script, readable=(given,)))
    assert ended.output.startswith("content\n")
    assert ended.status == 2  # a redirection that fails ends the shell
    assert (given / "file").read_text() == "content\n"


def test_a_given_path_that_is_missing_is_the_sandboxs_failure(
    sandbox: Sandbox, workspace: Workspace, workspaces: Path
) -> None:
    gone = workspaces.parent / "gone"
    with pytest.raises(SandboxFailed, match=str(gone)):
        sandbox.start(command(workspace, "exit 0", readable=(gone,)), workspace)


def test_a_link_in_the_way_of_a_given_path_is_refused(
    sandbox: Sandbox, workspace: Workspace, workspaces: Path
) -> None:
    given = workspaces.parent / "given"
    given.mkdir()
    script = f"ln -s /oldroot/tmp /tmp/{given.relative_to('/tmp').parts[0]}"
    assert run(sandbox, workspace, command(workspace, script)).status == 0
    with pytest.raises(SandboxFailed, match="link in the way"):
        sandbox.start(command(workspace, "exit 0", readable=(given,)), workspace)


def test_a_step_that_replaces_tmp_does_not_get_the_hosts(
    sandbox: Sandbox, workspace: Workspace
) -> None:
    script = "cd /build; rm -rf tmp; ln -s / tmp"
    assert run(sandbox, workspace, command(workspace, script)).status == 0
    assert run(sandbox, workspace, command(workspace, "ls -A /tmp")).output == ""


def test_the_hosts_certificates_and_names_are_there_and_follow_its_changes(
    sandbox: Sandbox, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, workspaces: Path
) -> None:
    host = workspaces.parent / "etc"
    (host / "ssl" / "certs").mkdir(parents=True)
    (host / "ssl" / "private").mkdir()
    (host / "hosts").write_text("one\n")
    (host / "ssl" / "private" / "key").write_text("secret\n")
    # A key among the certificates, and a directory of them, which builds may not read on the host.
    (host / "ssl" / "certs" / "key.pem").write_text("secret\n")
    (host / "ssl" / "certs" / "key.pem").chmod(0o600)
    (host / "services").write_text("secret\n")
    (host / "services").chmod(0o640)
    (host / "alternatives").mkdir()
    (host / "alternatives" / "key").write_text("secret\n")
    (host / "alternatives").chmod(0o700)
    (host / "ssl" / "certs" / "ca.pem").symlink_to("/usr/share/ca.pem")
    monkeypatch.setattr(etc, "HOST", host)
    script = "cat /etc/hosts; find /etc | sort; cat /etc/ssl/certs/key.pem 2>/dev/null || echo no"
    there = "/etc\n/etc/group\n/etc/hosts\n/etc/passwd\n/etc/ssl\n/etc/ssl/certs\n"
    there += "/etc/ssl/certs/ca.pem\n/etc/ssl/certs/key.pem\nno\n"
    assert run(sandbox, workspace, command(workspace, script)).output == "one\n" + there
    with closing(sandbox.start(command(workspace, "read x || cat /etc/hosts"), workspace)) as old:
        (host / "hosts").write_text("two, and longer\n")
        assert run(sandbox, workspace, command(workspace, script)).output == (
            "two, and longer\n" + there
        )
        assert drain(old) == "one\n", "what runs has what was there when it began"


def test_a_given_path_below_etc_can_be_read(sandbox: Sandbox, workspace: Workspace) -> None:
    script = "cat /etc/hostname"
    given = command(workspace, script, readable=(Path("/etc/hostname"),))
    assert run(sandbox, workspace, given).output == Path("/etc/hostname").read_text()
    assert run(sandbox, workspace, command(workspace, script)).status == 1
