"""The fork server that starts the parts of stacks: they are as good as executed, and none of them
outlives the tests."""

import signal
import subprocess
import sys
from pathlib import Path

from tests.integration.dev_process import BATON, environment
from tests.support.fork_server import Process, fork_server
from tests.support.servers.redis_process import free_port
from tests.support.waiting import wait_until

#: Is killed as soon as it has a store, which is executed, and an issuer, which is forked.
KILLED = f"""
import os, pathlib, signal, sys
from tests.integration.test_fork_server import issuer
from tests.support.servers.redis_process import RedisProcess
folder = pathlib.Path(sys.argv[1])
print(RedisProcess(folder)._process.pid, issuer(folder / "log").pid, flush=True)
os.kill(os.getpid(), signal.{signal.SIGKILL.name})
"""


def issuer(log: Path) -> Process:
    """Started, and listening."""
    port = free_port()
    settings = environment(
        BATON_ISSUER=f"http://127.0.0.1:{port}/",
        BATON_AUDIENCE="https://builds.example.com/",
        BATON_ISSUER_PORT=str(port),
        BATON_MINT_CLIENT_SECRET="a-secret-of-the-tests",
    )
    with log.open("ab") as out:
        process = fork_server().start([BATON, "issuer"], settings, out, fork=True)
    wait_until("it listens", lambda: "listening" in log.read_text(), seconds=60)
    return process


def test_it_has_the_environment_that_it_is_given_and_says_how_it_ended(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("ab") as out:
        process = fork_server().start([BATON, "api"], {"BATON_PORT": "many"}, out, fork=True)
    assert process.wait(60) == 2
    assert log.read_text().startswith("baton: ")
    assert "BATON_PORT" in log.read_text() and "BATON_ISSUER" in log.read_text()


def test_signals_reach_it_and_nothing_of_ours_is_open(tmp_path: Path) -> None:
    for sent, code in ((signal.SIGINT, 130), (signal.SIGTERM, -15), (signal.SIGKILL, -9)):
        process = issuer(tmp_path / sent.name)
        assert process.poll() is None
        files = [file.readlink() for file in Path(f"/proc/{process.pid}/fd").iterdir()]
        assert not [file for file in files if "pidfd" in str(file)]
        process.send_signal(sent)
        assert process.wait(30) == process.poll() == code


def test_all_ends_with_the_tests_however_they_end(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path)],
        env=environment(), check=False, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL
    started = [Path("/proc") / pid for pid in done.stdout.split()]
    assert len(started) == 2
    wait_until("all have ended", lambda: not any(each.exists() for each in started))
