"""Running commands in a sandbox, and looking for what they left behind."""

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.needs import needs
from worker.sandbox import Command, Limits, Process, Sandbox, Workspace
from worker.sandbox.choice import Name, choose

#: Roomy enough for any test that is not about limits.
LIMITS = Limits(memory_bytes=1 << 30, processes=256, file_bytes=1 << 30)
ENV = {"PATH": "/usr/local/bin:/usr/bin:/bin"}


#: The sandboxes that were made for a place, to be closed with it.
_made: dict[Path, list[Sandbox]] = {}


@contextmanager
def place() -> Iterator[Path]:
    """A directory for workspaces that any user may pass through; pytest's own are for one only."""
    above = Path(tempfile.mkdtemp(prefix="baton-test-"))
    above.chmod(0o711)
    try:
        yield above / "workspaces"
    finally:
        for sandbox in _made.pop(above / "workspaces", ()):
            sandbox.close()
        shutil.rmtree(above)


def sandbox_of(
    name: Name, workspaces: Path, limits: Limits = LIMITS, *, run_as: int | None = None
) -> Sandbox:
    """The sandbox of that name, builds running as nobody if the tests run as root.

    It is closed with the `place` that `workspaces` is.
    """
    if name == "bubblewrap":
        needs("bwrap")
    sandbox = choose(
        name,
        development=True,
        network=True,
        limits=limits,
        workspaces=workspaces,
        run_as=run_as,
    )
    _made.setdefault(workspaces, []).append(sandbox)
    return sandbox


def user_of_this_run() -> int | None:
    """A uid that no other test run uses, if the tests run as root: for what is counted per user."""
    return 100_000 + os.getpid() if os.geteuid() == 0 else None


@contextmanager
def workspace_in(sandbox: Sandbox) -> Iterator[Workspace]:
    workspace = sandbox.workspace("bld_test")
    try:
        yield workspace
    finally:
        sandbox.remove(workspace)


@dataclass(frozen=True)
class Ended:
    status: int | None
    output: str


def command(  # every part of a `Command` that a test may want to choose
    workspace: Workspace,
    script: str | None = None,
    *,
    argv: Sequence[str] = ("/bin/sh", "-e"),
    env: dict[str, str] | None = None,
    network: bool = False,
    readable: Sequence[Path] = (),
) -> Command:
    return Command(
        argv=argv,
        env=ENV if env is None else env,
        cwd=workspace.source,
        script=script,
        network=network,
        readable=readable,
    )


def run(sandbox: Sandbox, workspace: Workspace, what: Command) -> Ended:
    """Run a command to its end."""
    with closing(sandbox.start(what, workspace)) as process:
        output = drain(process)
        return Ended(process.wait(60), output)


def drain(process: Process) -> str:
    """All output up to its end; closes the pipe."""
    with os.fdopen(process.output, "rb") as pipe:
        return pipe.read().decode(errors="replace")


def read_until(process: Process, word: str) -> str:
    """Output up to `word`; fails when the output ends without it."""
    found = b""
    while word.encode() not in found:
        more = os.read(process.output, 4096)
        assert more, f"the output ended without {word!r}: {found.decode(errors='replace')!r}"
        found += more
    return found.decode(errors="replace")


def new_marker() -> str:
    """Seconds for `sleep` that nothing else here sleeps, so that its argument can be found."""
    return f"7{secrets.randbelow(10**9):09}"


def processes_with(marker: str) -> list[int]:
    """The pids of all living processes that have `marker` in their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and entry.name != str(os.getpid()):
            try:
                line = (entry / "cmdline").read_bytes()
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue
            if marker.encode() in line:
                found.append(int(entry.name))
    return found
