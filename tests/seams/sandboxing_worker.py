"""A process that stands in for a worker: runs one command, then waits to be killed.

    python sandboxing_worker.py SANDBOX WORKSPACES HIDE SCRIPT

Prints what the command prints. Imports what a worker's sandbox needs and nothing else, so that any
Python of this machine can run it.
"""

import os
import sys
from contextlib import closing
from pathlib import Path

from app.process_hardening import hide_this_process
from worker.sandbox import Command, Limits
from worker.sandbox.choice import SANDBOXES
from worker.sandbox.user import build_user
from worker.sandbox.workspaces import Workspaces


def main(name: str, workspaces: str, hide: str, script: str) -> None:
    if hide == "yes":
        hide_this_process()
    limits = Limits(memory_bytes=1 << 30, processes=256, file_bytes=1 << 30)
    sandbox = SANDBOXES[name](limits, Workspaces(Path(workspaces), build_user(None)))
    workspace = sandbox.workspace("bld_test")
    command = Command(
        argv=("/bin/sh",),
        script=script,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin"},
        cwd=workspace.source,
    )
    with closing(sandbox.start(command, workspace)) as process:
        while more := os.read(process.output, 65536):
            sys.stdout.buffer.write(more)
            sys.stdout.buffer.flush()
        process.wait(60)
    sandbox.remove(workspace)


if __name__ == "__main__":
    main(*sys.argv[1:])
