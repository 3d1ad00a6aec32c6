"""What starting costs: CPU of each server until it is ready, and of commands until they end.

    python -m benchmarks.start [--rounds 5]

The issuer, the API and a worker with two slots are executed as users do it, round after round, and
in the same rounds a plain Starlette API and a plain Celery worker (`benchmarks.plain`). The least
of the rounds counts: it is the one that others disturbed least. For the API, ready means that
`/readyz` says so: store, broker and the issuer's keys have answered.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from benchmarks import plain
from benchmarks.processes import cpu
from tests.integration.dev_process import BATON
from tests.support.stack import ExecutedStack

_COMMANDS: Final = {
    "python": [sys.executable, "-c", ""],
    "baton --version": [BATON, "--version"],
    "baton list": [BATON, "list"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = [_round() for _ in range(parser.parse_args().rounds)]
    least = {name: min(each[name] for each in rounds) for name in rounds[0]}
    for name, seconds in least.items():
        print(f"{name:15} {seconds * 1000:6.0f} ms")
    print(f"baton api is {least['baton api'] / least['plain API']:.1f} x the plain API,")
    print(f"baton worker {least['baton worker'] / least['plain worker']:.1f} x the plain worker")


def _round() -> dict[str, float]:
    used: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder, ExecutedStack(Path(folder)) as stack:
        used["baton issuer"] = cpu(stack.issuer.pid)
        used["baton api"] = cpu(stack.api.pid)
        used["baton worker"] = cpu(stack.worker().pid)
        env = {**os.environ, "BATON_API_URL": stack.api_url, "BATON_TOKEN": stack.token()}
        for name, argv in _COMMANDS.items():
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run(argv, env=env, check=True, stdout=subprocess.DEVNULL)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            used[name] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    with tempfile.TemporaryDirectory() as folder, plain.running(Path(folder)) as bare:
        used["plain API"] = cpu(bare.api.pid)
        used["plain worker"] = cpu(bare.worker.pid)
    return used


if __name__ == "__main__":
    main()
