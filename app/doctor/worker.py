"""The worker's check is made by the worker itself, in a process of its own."""

import asyncio
import os
import sys
from collections.abc import Mapping
from typing import Final

from pydantic import ValidationError

from app.contract.doctor import Finding, Mark

#: -P: the current directory may have another package `worker`.
_ARGV: Final = (sys.executable, "-P", "-m", "worker", "--check")


async def check_worker(environ: Mapping[str, str]) -> list[Finding]:
    """Return what `python -m worker --check` finds with these variables."""
    process = await asyncio.create_subprocess_exec(
        *_ARGV,
        env={**_system_environ(), **environ},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    try:
        found = [Finding.model_validate_json(line) for line in output.splitlines()]
    except ValidationError:
        found = []
    return found or [
        Finding.wrong(
            "worker",
            f"its own check said nothing and ended with {process.returncode}",
            "run `python -m worker --check` to see why",
        )
    ]


async def check_sandbox(environ: Mapping[str, str]) -> list[Finding]:
    """Return what the worker's check finds about the sandbox of this machine.

    This need not be a worker's machine: a sandbox that does not work here is not yet wrong.
    """
    elsewhere = "on the machines of the workers, run `baton doctor --worker`"
    return [
        each
        if each.mark is Mark.OK
        else Finding.untried("sandbox", f"not for builds: {each.sentence}", elsewhere)
        for each in await check_worker(environ)
        if each.check in {"sandbox", "worker"}
    ] or [Finding.untried("sandbox", "the settings here are not a worker's", elsewhere)]


def _system_environ() -> dict[str, str]:
    """Return what any program needs to run; the settings come from the caller."""
    return {name: value for name, value in os.environ.items() if not name.startswith("BATON_")}
