"""A worker's machine: looked at by the worker itself, in a process of its own."""

import asyncio
import os
import sys
from collections.abc import Mapping
from typing import Final

from pydantic import ValidationError

from app.contract.doctor import Finding, Mark

#: -P: the directory we are in may have a `worker` of its own.
_ARGV: Final = (sys.executable, "-P", "-m", "worker", "--check")


async def check_worker(environ: Mapping[str, str]) -> list[Finding]:
    """What `python -m worker --check` finds with these variables."""
    process = await asyncio.create_subprocess_exec(
        *_ARGV,
        env={**_system(), **environ},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    try:
        found = [Finding.model_validate_json(line) for line in said.splitlines()]
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
    """Only the sandbox, on a machine that need not be a worker's: where it does not work, nothing
    is wrong yet."""
    elsewhere = "on the machines of the workers, run `baton doctor --worker`"
    return [
        each
        if each.mark is Mark.OK
        else Finding.untried("sandbox", f"not for builds: {each.sentence}", elsewhere)
        for each in await check_worker(environ)
        if each.check in {"sandbox", "worker"}
    ] or [Finding.untried("sandbox", "the settings here are not a worker's", elsewhere)]


def _system() -> dict[str, str]:
    """What any program needs to run; settings come from the caller."""
    return {name: value for name, value in os.environ.items() if not name.startswith("BATON_")}
