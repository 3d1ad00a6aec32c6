"""A real worker on a real Redis: what it takes from the broker, and what it leaves there.

The API is a double that speaks as the contract says, for any number of builds. It checks the token
of each, and takes a result only with the whole log.
"""

import asyncio
import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
import pytest
import redis
from celery import Celery

from app.builds.queue import CeleryQueue
from app.config.lifetime import Timing, timers
from app.contract.queue import QUEUE, RUN_BUILD, TOKEN_HEADER
from app.contract.sealing import new_key
from tests.integration.dev_process import BATON
from tests.support.servers.redis_process import RedisProcess
from tests.support.servers.serving import serve
from tests.support.stack import Part
from tests.support.waiting import wait_until
from tests.support.worker.api_double import Double, Doubles
from tests.support.worker.sandboxed import new_marker, place, processes_with

TIMING = Timing(queue_ttl=60, kill_grace=1, report_window=20, leeway=5)
PASSWORD = "the-brokers-password"


def token_of(build_id: str) -> str:
    """Of a token's real shape: what hides tokens in logs goes by that."""
    claims = {"sub": "worker", "build_id": build_id}
    return jwt.encode(claims, "a-key-that-is-long-enough-for-hs256", algorithm="HS256")


# ── setup ─────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Scene:
    folder: Path
    workspaces: Path
    redis: RedisProcess
    api_url: str
    api: Doubles
    cleanup: ExitStack
    started: int = 0

    def worker(self, **env: str) -> Part:
        """Start a worker and wait until it listens; it is stopped with the test."""
        self.started += 1
        name = f"worker{self.started}"
        part = Part(
            name=name,
            argv=[BATON, "worker"],
            env={
                "PATH": os.environ["PATH"],
                "BATON_BROKER_URL": self.redis.url,
                "BATON_API_URL": self.api_url,
                "BATON_SANDBOX": "process",
                "BATON_DEVELOPMENT": "1",  # the tests read and write tokens that are not sealed
                "BATON_WORKSPACES": str(self.workspaces),
                "BATON_WORKER_CONCURRENCY": "1",
                "BATON_WORKER_NAME": name,
                **env,
            },
            log=self.folder / f"{name}.log",
        )
        part.start()
        self.cleanup.callback(part.stop, signal.SIGKILL)
        wait_until(f"{name} listens", lambda: f"baton@{name} ready" in part.output(), seconds=60)
        return part

    def build(self, build_id: str, *steps: str, timeout: float = 60) -> Double:
        """Make a build that the API knows, and its token."""
        build = self.api.builds[build_id] = Double(
            build_id=build_id,
            token=token_of(build_id),
            lease=f"lease of {build_id}",
            scripts=steps,
            claim_more={"timeout": timeout, "report_window": 20},
        )
        return build

    def send(self, build_id: str, *steps: str, timeout: float = 60) -> Double:
        """Queue a build exactly as the API does."""
        build = self.build(build_id, *steps, timeout=timeout)
        asyncio.run(self._send(build_id))
        return build

    async def _send(self, build_id: str) -> None:
        queue = CeleryQueue(self.redis.url, redelivery_after=3600)
        try:
            await queue.send(build_id, token_of(build_id), timers(TIMING, 60))
        finally:
            await queue.close()

    def in_broker(self) -> bytes:
        """All that Redis holds, as one text."""
        found = b""
        with redis.Redis.from_url(self.redis.url) as client:
            for key in client.scan_iter():
                match client.type(key):
                    case b"list":
                        found += b"".join(client.lrange(key, 0, -1))
                    case b"hash":
                        found += b"".join(client.hvals(key))
                    case b"zset":
                        found += b"".join(client.zrange(key, 0, -1))
                    case b"set":
                        found += b"".join(client.smembers(key))
                    case b"string":
                        found += client.get(key) or b""
        return found

    def unacknowledged(self) -> int:
        with redis.Redis.from_url(self.redis.url) as client:
            return int(client.hlen("unacked"))


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    api = Doubles()
    with (
        place() as workspaces,
        RedisProcess(tmp_path) as broker,
        serve(api.app()) as api_url,
        ExitStack() as cleanup,
    ):
        yield Scene(tmp_path, workspaces, broker, api_url, api, cleanup)


def ended(build: Double, *, seconds: float = 60) -> dict[str, Any]:
    return wait_until("the build has ended", lambda: build.result, seconds=seconds) or {}


# ── one build ─────────────────────────────────────────────────────────────────────────────────────


def test_a_build_runs_with_the_token_of_its_message_and_leaves_nothing_behind(scene: Scene) -> None:
    scene.worker()
    build = scene.send("bld_one", "echo hello; env", "printf 'no newline'")
    result = ended(build)
    assert (result["status"], [s["exit_code"] for s in result["steps"]]) == ("succeeded", [0, 0])
    log = bytes(build.log)
    assert result["log_length"] == len(log)
    assert result["log_sha256"] == hashlib.sha256(log).hexdigest()
    assert log.startswith(b"==> step 0\nhello\n")
    assert log.endswith(b"no newline")
    assert b"BATON_BUILD_ID=bld_one\n" in log
    assert token_of("bld_one").encode() not in log
    assert scene.unacknowledged() == 0
    assert token_of("bld_one").encode() not in scene.in_broker()
    wait_until("the workspace is gone", lambda: not list(scene.workspaces.iterdir()))


def test_many_quick_steps_do_not_outrun_the_builds_time(scene: Scene) -> None:
    scene.worker()
    result = ended(scene.send("bld_quick", *["true"] * 100, timeout=1))
    assert (result["status"], result["reason"]) == ("timed_out", "build_timed_out")
    assert result["steps"][-1]["status"] == "skipped"


# ── the queue ─────────────────────────────────────────────────────────────────────────────────────


def test_short_builds_are_not_held_back_behind_a_long_one(scene: Scene) -> None:
    scene.worker()
    scene.worker()
    long = scene.send("bld_long", "echo begun; sleep 600")
    wait_until("the long one runs", lambda: b"begun" in long.log)
    for n in range(4):
        assert ended(scene.send(f"bld_short{n}", "true"))["status"] == "succeeded"
    assert long.result is None
    assert scene.unacknowledged() == 0, "a running build's message could be delivered again"
    long.cancel = True
    assert ended(long)["status"] == "cancelled"
    assert len(long.nonces) == 1


def test_a_broker_that_is_away_neither_ends_a_build_nor_the_worker(scene: Scene) -> None:
    scene.worker()
    build = scene.send("bld_during", "echo begun; sleep 2; echo over")
    wait_until("it runs", lambda: b"begun" in build.log)
    scene.redis.stop(signal.SIGKILL)
    assert ended(build)["status"] == "succeeded"
    scene.redis.start()
    assert ended(scene.send("bld_after", "true"))["status"] == "succeeded"
    assert len(build.nonces) == 1


def test_kill_9_of_the_worker_takes_its_pool_and_its_build_along(scene: Scene) -> None:
    marker = new_marker()
    worker = scene.worker()
    build = scene.send("bld_killed", f"echo begun; sleep {marker} & wait")
    wait_until("it runs", lambda: b"begun" in build.log)
    pool = children_of(worker.pid)
    assert pool
    assert processes_with(marker)
    worker.stop(signal.SIGKILL)
    wait_until("the pool is gone", lambda: not any(runs(pid) for pid in pool))
    wait_until("the build is gone", lambda: not processes_with(marker))


def children_of(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def runs(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


# ── messages that are no builds ───────────────────────────────────────────────────────────────────


def send_oddities(broker_url: str, token: str) -> None:
    """What a newer API, a mistake or a stranger might put into the queue."""
    with_token = {TOKEN_HEADER: token}
    with Celery(broker=broker_url, set_as_current=False) as celery:

        def send(task: str, args: list[Any], headers: dict[str, str], **more: Any) -> None:
            celery.send_task(task, args, headers=headers, queue=QUEUE, **more)

        send(RUN_BUILD, ["bld_tokenless"], {})
        send(RUN_BUILD, ["bld_strange"], {TOKEN_HEADER: f"{token}\r\nX-More: 1"})
        send(RUN_BUILD, [], with_token)
        send(RUN_BUILD, ["../healthz"], with_token)
        send(RUN_BUILD, [{"id": "bld_nested"}], with_token)
        send(RUN_BUILD, ["bld_expired"], with_token, expires=-60)
        send("baton.no_such_task", ["bld_unknown"], with_token)
        with celery.producer_or_acquire() as producer:
            for content_type, body in (
                ("application/json", b"{"),
                ("application/x-python-serialize", b"\x80\x04N."),
            ):
                producer.publish(
                    body,
                    content_type=content_type,
                    content_encoding="utf-8",
                    routing_key=QUEUE,
                    headers={"task": RUN_BUILD, "id": "1", "lang": "py", **with_token},
                )


def test_odd_messages_are_dropped_and_the_next_build_runs(scene: Scene) -> None:
    worker = scene.worker(BATON_LOG_LEVEL="debug")
    token = token_of("bld_odd")
    send_oddities(scene.redis.url, token)
    assert ended(scene.send("bld_good", "true"))["status"] == "succeeded"
    assert scene.api.asked_for == {"bld_good"}
    output = worker.output()
    for secret in (token, token_of("bld_good")):
        for part in secret.split("."):
            assert part not in output
    assert scene.unacknowledged() == 0
    assert token.encode() not in scene.in_broker()


def test_arguments_of_a_newer_api_are_ignored(scene: Scene) -> None:
    scene.worker()
    build = scene.build("bld_new", "true")
    with Celery(broker=scene.redis.url, set_as_current=False) as celery:
        headers = {TOKEN_HEADER: token_of("bld_new")}
        celery.send_task(RUN_BUILD, ["bld_new", "more"], {"x": 3}, queue=QUEUE, headers=headers)
    assert ended(build)["status"] == "succeeded"


# ── what the worker says ──────────────────────────────────────────────────────────────────────────


def test_its_lines_name_the_build(scene: Scene) -> None:
    worker = scene.worker()
    ended(scene.send("bld_named", "true"))
    named = "build_id=bld_named attempt=1"
    wait_until("it says how it ended", lambda: f"ended: succeeded {named}" in worker.output())
    assert f"claimed, attempt 1 {named}" in worker.output()
    assert "sandbox process, 1 builds at once" in worker.output()


def run_worker(**env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "worker"],
        env={"PATH": os.environ["PATH"], **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("env", "named"),
    [
        ({}, "BATON_API_URL"),
        ({"BATON_API_URL": "http://localhost:1"}, "BATON_BROKER_URL"),
        (
            {
                "BATON_API_URL": "http://localhost:1",
                "BATON_BROKER_URL": f"http://:{PASSWORD}@localhost/",
                "BATON_MESSAGE_KEYS": new_key(),
            },
            "BATON_BROKER_URL",
        ),
    ],
)
def test_a_wrong_setting_ends_the_start_with_one_sentence(env: dict[str, str], named: str) -> None:
    done = run_worker(**env)
    assert done.returncode == 2
    assert done.stderr.startswith("baton worker: ")
    assert named in done.stderr
    assert done.stderr.count("\n") == 1
    assert PASSWORD not in done.stderr + done.stdout
