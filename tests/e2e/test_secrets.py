"""What a worker knows and a build must not: its token, its broker, its environment.

From inside, a build looks everywhere that it can reach. From outside, the tokens, which the test
reads in the queue before any worker runs, are looked for wherever something could have kept them.
"""

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis

from app.contract.queue import QUEUE, TOKEN_HEADER
from tests.e2e.user import User, steps
from tests.support.needs import missing, needs
from tests.support.stack import ExecutedStack, Part, Stack
from tests.support.waiting import wait_until
from worker.sandbox.user import Identity

REPOSITORY = Path(__file__).parents[2]
NOBODY = 65534

#: What can be read of every process; /proc/<pid>/mem shows whether it could be read at all.
HUNT_PROCESSES = """
set +e
for process in /proc/[0-9]*; do
  echo "== $process"
  for file in environ cmdline maps auxv task/*/environ; do
    cat "$process/$file" 2>/dev/null | tr '\\0' '\\n'
  done
  ls -l "$process/fd" "$process/cwd" "$process/root" 2>/dev/null
  for fd in "$process"/fd/*; do
    [ -f "$fd" ] && head -c 200000 "$fd" 2>/dev/null
  done
  head -c 16 "$process/mem" 2>/dev/null
done
ps -efww e 2>/dev/null
echo the hunt is over
"""

HUNT_FILES = """
set +e
env
set
for place in "$HOME" "$TMPDIR" . .. ../.. /tmp /var/tmp /dev/shm /run /root /home; do
  echo "== $place"
  ls -la "$place" 2>/dev/null
done
find "$HOME" "$TMPDIR" .. /tmp/baton-* /dev/shm /run -type f -size -200k -mmin -10 2>/dev/null |
  head -500 | while read -r file; do echo "== $file"; cat "$file" 2>/dev/null; done
echo the hunt is over
"""


class Broker:
    """The store and broker, as an operator sees them."""

    def __init__(self, stack: Stack) -> None:
        self._redis = redis.Redis.from_url(stack.redis.url)
        self._seal = stack.seal

    def close(self) -> None:
        self._redis.close()

    def with_password(self, url: str) -> str:
        """The broker's URL for a user of its own, so that there is something to be found."""
        password = secrets.token_hex(16)
        self._redis.acl_setuser(
            "worker", enabled=True, passwords=[f"+{password}"], keys=["*"], channels=["*"],
            categories=["+@all"], reset_passwords=True,
        )  # fmt: skip
        return url.replace("redis://", f"redis://worker:{password}@")

    def token(self, build_id: str, attempt: int = 1) -> str:
        """The build's token, read in the queue and left there."""

        def found() -> list[str]:
            messages = [json.loads(raw) for raw in self._redis.lrange(QUEUE, 0, -1)]
            return [
                self._seal.open(message["headers"][TOKEN_HEADER], purpose=build_id)
                for message in messages
                if build_id in message["headers"]["argsrepr"]
            ]

        return wait_until(f"attempt {attempt} is dispatched", found, seconds=60)[0]

    def content(self, *, without: frozenset[str] = frozenset()) -> bytes:
        """Every key and value there is."""
        found = []
        for key in self._redis.scan_iter(count=1000):
            if key.decode() not in without:
                found.append(key)
                found.append(repr(self._value(key)).encode())
        return b"\n".join(found)

    def _value(self, key: bytes) -> Any:
        match self._redis.type(key):
            case b"string":
                return self._redis.get(key)
            case b"hash":
                return self._redis.hgetall(key)
            case b"list":
                return self._redis.lrange(key, 0, -1)
            case b"set":
                return self._redis.smembers(key)
            case b"zset":
                return self._redis.zrange(key, 0, -1, withscores=True)
            case b"none":
                return None
            case other:
                raise AssertionError(f"a key of type {other!r}")


@dataclass
class Secrets:
    """Words that must not be found, by what they are."""

    words: dict[str, str]

    def add_token(self, name: str, token: str) -> None:
        """Its parts by themselves, too: half a token in a log is a finding."""
        _, payload, signature = token.split(".")
        self.words |= {f"{name}'s payload": payload, f"{name}'s signature": signature}

    def found_in(self, text: str | bytes) -> list[str]:
        data = text.encode() if isinstance(text, str) else text
        return [name for name, word in self.words.items() if word.encode() in data]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Everything says all that it has to say; workers come and go. Of a forked one, /proc would
    not show the environment."""
    with ExecutedStack(tmp_path_factory.mktemp("stack"), BATON_LOG_LEVEL="debug") as stack:
        yield stack


@pytest.fixture
def broker(stack: Stack) -> Iterator[Broker]:
    broker = Broker(stack)
    yield broker
    broker.close()


@pytest.fixture
def ann(stack: Stack) -> Iterator[User]:
    with User(stack) as user:
        yield user


@pytest.fixture(params=["process", "bubblewrap"])
def sandbox(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if name == "bubblewrap":
        needs("bwrap")
    return name


@pytest.fixture
def shims() -> Iterator[Path]:
    """What redis-py misses in Python 3.11.2, which Debian 12 has."""
    folder = Path(tempfile.mkdtemp(prefix="baton-test-"))
    folder.chmod(0o755)
    (folder / "async_timeout.py").write_text("from asyncio import timeout as timeout\n")
    yield folder
    shutil.rmtree(folder)


def worker_of(
    stack: Stack, broker_url: str, sandbox: str, canary: str, *, user: str, shims: Path
) -> Part:
    """A worker, not started yet, with a secret in its broker's URL and one in its environment.

    `user` is "root's" (or whoever the tests run as), or "the builds'": unprivileged, the one as
    whom its builds run then, too.
    """
    part = stack.worker(
        concurrency=1,
        BATON_SANDBOX=sandbox,
        BATON_BROKER_URL=broker_url,
        BATON_LOG_LEVEL="debug",
        SOMEBODYS_PASSWORD=canary,
    )
    part.stop()
    part.log.unlink()
    if user == "the builds'" and os.geteuid() == 0:
        part.env["PYTHONPATH"] = f"{REPOSITORY}:{sysconfig.get_path('purelib')}:{shims}"
        become = [
            needs("setpriv"), f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--",
        ]  # fmt: skip
        part.argv = [*become, python_with_our_packages(become, part.env), "-P", "-m", "worker"]
    return part


#: Started by root, any interpreter starts; but can it, in its new role, start another?
TRIAL = "import redis, subprocess, sys, worker.tasks; subprocess.run([sys.executable, '-V'])"


def python_with_our_packages(become: list[str], env: dict[str, str]) -> str:
    for python in filter(None, (sys.executable, shutil.which("python3", path="/usr/bin"))):
        trial = [*become, python, "-P", "-c", TRIAL]
        if subprocess.run(trial, check=False, env=env, cwd="/", capture_output=True).returncode:
            continue
        return python
    return missing("no Python with our packages that an unprivileged user can run")


@contextmanager
def running(part: Part) -> Iterator[Part]:
    part.start()
    try:
        wait_until("it is ready", lambda: "ready" in part.output(), seconds=60)
        yield part
    finally:
        part.stop()


@pytest.mark.parametrize("user", ["root's", "the builds'"])
def test_a_build_that_looks_everywhere_finds_nothing(
    stack: Stack, ann: User, broker: Broker, sandbox: str, user: str, shims: Path
) -> None:
    url, canary = broker.with_password(stack.redis.url), secrets.token_hex(16)
    worker = worker_of(stack, url, sandbox, canary, user=user, shims=shims)
    hunts = [ann.submit(steps(script)) for script in (HUNT_PROCESSES, HUNT_FILES)]
    wanted = Secrets(
        {
            "the broker's URL": url,
            "its password": url.rpartition("@")[0].rpartition(":")[2],
            "the environment": canary,
            "its names": "BATON_BROKER_URL",
            "the API's": "BATON_API_URL",
        }
    )
    for build_id in hunts:
        wanted.add_token(build_id, broker.token(build_id))
    with running(worker):
        for build_id in hunts:
            build = ann.wait_for(build_id)
            log = ann.log(build_id)
            assert "the hunt is over" in log, (build, log[-2000:])
            assert wanted.found_in(log) == []
            assert "log truncated" not in log


def test_the_hunter_finds_what_is_not_hidden(stack: Stack, ann: User, broker: Broker) -> None:
    """Else the test above would say nothing."""
    canary = secrets.token_hex(16)
    user: Identity = (
        {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
    )
    build_id = ann.submit(steps(HUNT_PROCESSES))
    broker.token(build_id)
    prey = subprocess.Popen(["sleep", "600"], env={"CANARY": canary}, **user)
    worker = stack.worker()
    try:
        ann.wait_for(build_id)
        assert canary in ann.log(build_id)
    finally:
        worker.stop()
        prey.kill()
        prey.wait(30)


def command_lines_and_environments(spare: set[int]) -> bytes:
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and int(process.name) not in spare:
            for name in ("cmdline", "environ"):
                try:
                    found.append((process / name).read_bytes())
                except OSError:
                    continue
    return b"\n".join(found)


def test_no_token_is_kept_or_said_anywhere(
    stack: Stack, ann: User, broker: Broker, sandbox: str
) -> None:
    """Through a success, a failure, a build whose worker is killed, and one that is cancelled."""
    wanted = Secrets({})
    wanted.add_token("ann", stack.token())
    runs = {
        "succeeds": ann.submit(steps("true")),
        "fails": ann.submit(steps("exit 3")),
        "is lost": ann.submit(steps('echo here; [ "$BATON_ATTEMPT" = 2 ] || sleep 1000')),
        "is cancelled": ann.submit(steps("echo here; sleep 1000")),
    }
    for name, build_id in runs.items():
        wanted.add_token(name, broker.token(build_id))
    in_queue = frozenset({QUEUE, "unacked", "unacked_index"})
    assert wanted.found_in(broker.content(without=in_queue)) == []

    first = stack.worker(concurrency=4, BATON_SANDBOX=sandbox, BATON_LOG_LEVEL="debug")
    try:
        ann.wait_for(runs["succeeds"])
        ann.wait_for(runs["fails"])
        for name in ("is lost", "is cancelled"):
            ann.wait_for_log(runs[name], "here")
        assert wanted.found_in(command_lines_and_environments({os.getpid()})) == []
        assert wanted.found_in(broker.content()) == []
        ann.cancel(runs["is cancelled"])
        ann.wait_for(runs["is cancelled"])
    finally:
        first.stop(signal.SIGKILL)
    wanted.add_token("is lost, again", broker.token(runs["is lost"], attempt=2))
    second = stack.worker(BATON_SANDBOX=sandbox, BATON_LOG_LEVEL="debug")
    try:
        statuses = {name: ann.wait_for(build_id)["status"] for name, build_id in runs.items()}
    finally:
        second.stop()
    assert statuses == {
        "succeeds": "succeeded",
        "fails": "failed",
        "is lost": "succeeded",
        "is cancelled": "cancelled",
    }
    assert wanted.found_in(broker.content()) == []
    for part in stack._parts:
        assert wanted.found_in(part.output()) == [], part.name
        # Nor was any to be taken out of the worker's lines.
        assert "[token]" not in part.output(), part.name
    for build_id in runs.values():
        assert wanted.found_in(ann.http.get(f"/builds/{build_id}").content) == []
        assert wanted.found_in(ann.http.get(f"/builds/{build_id}/log").content) == []
