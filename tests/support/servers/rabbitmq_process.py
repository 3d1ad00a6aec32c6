"""A real RabbitMQ for tests, with ports, files and epmd of its own; can be frozen and restarted."""

import os
import shutil
import signal
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import amqp.exceptions

from tests.support.fork_server import Process, fork_server
from tests.support.needs import missing, needs
from tests.support.servers.certificates import Certificate
from tests.support.servers.redis_process import free_port
from tests.support.waiting import wait_until

#: Seconds after which the tests' RabbitMQ closes the channel of who does not acknowledge a message.
CONSUMER_TIMEOUT: Final = 3

#: Debian's program on PATH insists on root or the user `rabbitmq`, and on their files; this is what
#: it calls.
_DEBIANS: Final = Path("/usr/lib/rabbitmq/bin")


def _program(name: str) -> str:
    path = shutil.which(name, path=_DEBIANS) or shutil.which(name)
    return path or missing(f"{name} is not installed")


def _tls(files: Certificate, port: int) -> str:
    return (
        f"listeners.ssl.1 = 127.0.0.1:{port}\n"
        f"ssl_options.cacertfile = {files.authority}\n"
        f"ssl_options.certfile = {files.certificate}\n"
        f"ssl_options.keyfile = {files.key}\n"
    )


class RabbitProcess:
    """One node, running within `with`; a broker of its own, whatever else runs on this machine."""

    def __init__(
        self, folder: Path, *, consumer_timeout: int = 1800, tls: Certificate | None = None
    ) -> None:
        """`consumer_timeout`: seconds for which it waits for an acknowledgement; its default.
        `tls`: what it shows on `tls_port`."""
        self._folder = folder
        self._processes: list[Process] = []
        self.port = free_port()
        self._epmd_port = free_port()
        self._dist_port = free_port()
        self.tls_port = free_port()
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}//"
        (folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self.port}\n"
            f"consumer_timeout = {consumer_timeout * 1000}\n"
            + (_tls(tls, self.tls_port) if tls else "")
        )
        (folder / "plugins").write_text("[].\n")

    @property
    def _env(self) -> dict[str, str]:
        folder = self._folder
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),  # where Erlang keeps its cookie
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"baton{self.port}@localhost",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "none"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_ALLOW_INPUT": "1",  # the script becomes the server: one process to signal
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                "-noinput +S 1:1 +sbwt none "
                "-rabbit channel_tick_interval 1000"  # milliseconds; how often it looks for those
            ),
        }

    def start(self) -> None:
        out = (self._folder / "output").open("ab")
        with out:
            for argv in (
                [needs("epmd"), "-port", str(self._epmd_port)],
                [_program("rabbitmq-server")],
            ):
                self._processes.append(
                    fork_server().start(argv, self._env, out, fork=False, cwd=self._folder)
                )
        wait_until("rabbitmq answers", self._answers, seconds=120)

    def _answers(self) -> bool:
        assert self._processes[-1].poll() is None, (self._folder / "output").read_text()
        try:
            with amqp.Connection(f"127.0.0.1:{self.port}", connect_timeout=5):
                return True
        except (OSError, amqp.exceptions.AMQPError):
            return False

    def connect(self) -> amqp.Connection:
        return amqp.Connection(f"127.0.0.1:{self.port}")

    def unacknowledged(self) -> dict[str, int]:
        """Of each queue, the messages that were delivered and not acknowledged."""
        done = subprocess.run(
            [_program("rabbitmqctl"), "--silent", "list_queues", "name", "messages_unacknowledged"],
            env=self._env, capture_output=True, text=True, check=True, timeout=60,
        )  # fmt: skip
        return {name: int(n) for name, n in map(str.split, done.stdout.splitlines())}

    def wait_until_kept(self, queue: str) -> None:
        """Until the quorum queue would survive a kill: RabbitMQ 3.10 writes within a second which
        of them there are, and loses for ever those that it had no time for."""
        [registry] = self._folder.glob("data/*/quorum/*/names.dets")
        wait_until(f"{queue} is on the disk", lambda: queue.encode() in registry.read_bytes())

    def send(self, what: signal.Signals) -> None:
        """To the server itself; SIGSTOP freezes it with its connections open."""
        self._processes[-1].send_signal(what)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        for process in reversed(self._processes):
            process.send_signal(how)
            process.wait(60)
        self._processes.clear()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop(signal.SIGKILL)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop(signal.SIGKILL)
