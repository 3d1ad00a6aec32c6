"""`choose` picks the sandbox of a worker. A new one is one file and one row of `SANDBOXES`."""

import contextlib
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Literal

from worker.errors import SandboxFailed
from worker.sandbox import Command, Limits, Sandbox
from worker.sandbox.bubblewrap import Bubblewrap
from worker.sandbox.process import ProcessSandbox
from worker.sandbox.user import build_user
from worker.sandbox.workspaces import Workspaces

log = logging.getLogger(__name__)

Name = Literal["bubblewrap", "process", "auto"]

#: Each takes the limits of every command, and the directory for workspaces.
SANDBOXES: Final[Mapping[str, Callable[[Limits, Workspaces], Sandbox]]] = {
    "bubblewrap": Bubblewrap,
    "process": ProcessSandbox,
}

#: Seconds for the trial command to exit once its output has ended.
_TRIAL_TIMEOUT: Final = 30.0


def choose(
    name: Name,
    *,
    development: bool,
    network: bool,
    limits: Limits,
    workspaces: Path | None = None,
    run_as: int | None = None,
) -> Sandbox:
    """Return a sandbox that has just run a command.

    `auto` is bubblewrap where that works; where it does not, `process` with a warning in
    development, and an error otherwise. `network` says whether builds are meant to have the
    network; without, choosing `process` logs that it cannot keep them off it. `workspaces` is the
    directory for workspaces (default: `baton-<uid>` in the system's directory for temporary files),
    `run_as` the uid that builds run as (default: nobody when the worker is root, else the worker's
    own).

    Deletes the workspaces that killed workers left. Raises `SandboxFailed` with a sentence that
    says what to install or to set.
    """
    place = Workspaces(workspaces, build_user(run_as))
    place.sweep()
    if name != "auto":
        sandbox = _make_and_try(name, limits, place)
    else:
        try:
            sandbox = _make_and_try("bubblewrap", limits, place)
        except SandboxFailed as failure:
            if not development:
                raise SandboxFailed(
                    f"{failure}. Install bubblewrap and allow unprivileged user namespaces, or set"
                    " BATON_SANDBOX=process where every build is trusted"
                ) from failure
            log.warning("no bubblewrap, so builds are not walled off from this host: %s", failure)
            sandbox = _make_and_try("process", limits, place)
    if sandbox.name == "process" and not network:
        log.warning("the process sandbox cannot keep builds off the network")
    return sandbox


def _make_and_try(name: str, limits: Limits, place: Workspaces) -> Sandbox:
    """Make the sandbox of that name and run a command in it. Raises `SandboxFailed`."""
    if name not in SANDBOXES:
        raise SandboxFailed(f"there is no sandbox {name!r}, only {', '.join(SANDBOXES)} and auto")
    sandbox = SANDBOXES[name](limits, place)
    workspace = sandbox.workspace("trial")
    try:
        command = Command(
            argv=("/bin/sh",),
            script="exit 0",
            env={"PATH": "/usr/local/bin:/usr/bin:/bin"},
            cwd=workspace.source,
        )
        with contextlib.closing(sandbox.start(command, workspace)) as process:
            with os.fdopen(process.output, "rb") as output:
                printed = output.read().decode(errors="replace").strip()
            status = process.wait(_TRIAL_TIMEOUT)
    finally:
        sandbox.remove(workspace)
        sandbox.close()
    if status != os.EX_OK:
        raise SandboxFailed(f"a trial command in the {name} sandbox ended with {status}: {printed}")
    return sandbox
