"""A real Redis server for tests: its own port and data, can be killed and started again."""

import os
import signal
import socket
from pathlib import Path
from types import TracebackType
from typing import Self

import redis

from tests.support.fork_server import Process, fork_server
from tests.support.needs import redis_server
from tests.support.waiting import wait_until


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class RedisProcess:
    def __init__(self, data: Path) -> None:
        self._data = data
        self._process: Process | None = None
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.start()

    def start(self) -> None:
        argv = [
            redis_server(), "--port", str(self.port), "--bind", "127.0.0.1",
            "--dir", str(self._data), "--appendonly", "yes", "--save", "",
        ]  # fmt: skip
        with Path(os.devnull).open("wb") as out:
            self._process = fork_server().start(argv, os.environ, out, fork=False)
        wait_until("redis answers", self._answers)

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    def _answers(self) -> bool:
        try:
            with redis.Redis.from_url(self.url) as client:
                return bool(client.ping())
        except redis.exceptions.RedisError:
            return False

    def send(self, what: signal.Signals) -> None:
        """SIGSTOP freezes it with its connections open."""
        assert self._process
        self._process.send_signal(what)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(20)
            self._process = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop(signal.SIGKILL)
