"""A real `baton dev` for tests, and a look at the processes below it."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.needs import redis_server
from tests.support.waiting import wait_until

BATON = str(Path(sys.executable).parent / "baton")


def environment(**settings: str) -> dict[str, str]:
    """Ours, without settings of a stack that may run beside the tests."""
    return {k: v for k, v in os.environ.items() if not k.startswith("BATON_")} | settings


def descendants(pid: int) -> dict[int, str]:
    """Every process below `pid`: its id and its command line."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return {child: command_line(child) for child in found - {pid}}


def command_line(pid: int) -> str:
    """'' when the process has ended, even if nobody has waited for it yet."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


class Dev:
    """`baton dev` on free ports; leaving the context ends it, and asserts that nothing is left."""

    def __init__(self, data: Path, *options: str, **settings: str) -> None:
        redis_server()
        self.data = data
        self._log = data.parent / f"{data.name}.log"
        self._options = ["--data", str(data), *options]
        self._settings = settings

    def __enter__(self) -> Self:
        with self._log.open("wb") as out:
            self.process = subprocess.Popen(
                [BATON, "dev", "--port", "0", *self._options],
                env=environment(**self._settings),
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            print(self.output)  # noqa: T201  pytest shows it with the failure
        if self.process.poll() is None:
            below = descendants(self.process.pid)
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(60)
            assert_gone(below)

    @property
    def output(self) -> str:
        return self._log.read_text(errors="replace")

    def wait_ready(self) -> Self:
        wait_until(
            "baton dev is ready or has ended",
            lambda: "Baton is ready" in self.output or self.process.poll() is not None,
            seconds=90,
        )
        assert self.process.poll() is None, self.output
        return self

    @property
    def api_url(self) -> str:
        found = re.search(r"API (http\S+)", self.output)
        assert found
        return found[1]

    def part(self, name: str) -> int:
        """The process of a part."""
        words = "redis-server" if name == "store" else f"app.cli {name}"
        return min(pid for pid, line in descendants(self.process.pid).items() if words in line)

    def baton(self, *arguments: str, token: str = "") -> subprocess.CompletedProcess[str]:
        """Run a client command against it."""
        return subprocess.run(
            [BATON, *arguments],
            env=environment(BATON_API_URL=self.api_url, BATON_TOKEN=token),
            check=False, capture_output=True, text=True, timeout=120,
        )  # fmt: skip

    def token(self) -> str:
        done = self.baton("token", "--user", "ann")
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


def assert_gone(processes: dict[int, str]) -> None:
    """None of them may be left; a number that was given away again has another command line."""
    wait_until(
        "all processes have ended",
        lambda: not any(line and command_line(pid) == line for pid, line in processes.items()),
        seconds=20,
    )
