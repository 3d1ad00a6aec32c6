"""Builds that mean harm, in the bubblewrap sandbox: each is stopped at its limits or finds nothing,
and the worker goes on."""

import secrets
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.e2e.user import User, steps
from tests.support.needs import needs
from tests.support.stack import Stack
from tests.support.waiting import wait_until
from tests.support.worker.sandboxed import processes_with

MEMORY, PROCESSES, FILE, DISK, FILES = "300M", "64", "40M", "60M", "5000"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    needs("bwrap")
    with Stack(
        tmp_path_factory.mktemp("stack"), sandbox="bubblewrap", BATON_KILL_GRACE="1"
    ) as stack:
        stack.worker(
            concurrency=2,
            BATON_SANDBOX_MEMORY=MEMORY,
            BATON_SANDBOX_PROCESSES=PROCESSES,
            BATON_SANDBOX_FILE_SIZE=FILE,
            BATON_SANDBOX_DISK=DISK,
            BATON_SANDBOX_FILES=FILES,
        )
        yield stack


@pytest.fixture
def ann(stack: Stack) -> Iterator[User]:
    with User(stack) as user:
        yield user


@pytest.fixture(autouse=True)
def _the_worker_goes_on(stack: Stack, ann: User) -> Iterator[None]:
    """After each of them: no process of it is left, and the next build is as good as the first."""
    yield
    found = ann.run(steps("echo fine > file; cat file"))
    assert (found["status"], found["attempt"]) == ("succeeded", 1)
    [worker] = stack.workers
    assert worker.process
    assert worker.process.poll() is None


def ended(ann: User, script: str, timeout: int = 40) -> dict[str, Any]:
    found = ann.run(steps(script, timeout=timeout), seconds=120)
    return found | {"text": ann.log(found["id"])}


# ── too much of everything ────────────────────────────────────────────────────────────────────


def test_a_fork_bomb_burns_out(ann: User) -> None:
    bomb = "bomb() { bomb & bomb & wait; }\nbomb\nsleep 30"
    found = ended(ann, bomb, timeout=5)
    assert found["status"] in {"failed", "timed_out"}
    assert "fork" in found["text"]


def test_a_memory_hog_is_refused(ann: User) -> None:
    found = ended(ann, "dd if=/dev/zero of=/dev/null bs=1G count=1")
    assert (found["status"], found["reason"]) == ("failed", "step_failed")


def test_a_disk_filler_is_stopped(ann: User) -> None:
    found = ended(ann, "i=0; while :; do head -c 8M /dev/urandom > f$i; i=$((i + 1)); done")
    assert (found["status"], found["reason"]) == ("failed", "disk_limit")
    assert "bytes on disk" in found["message"]
    assert found["steps"][0]["status"] == "failed"


def test_one_large_file_is_stopped(ann: User) -> None:
    found = ended(ann, "head -c 100M /dev/zero > file")
    assert (found["status"], found["reason"]) == ("failed", "step_failed")


def test_a_hundred_thousand_files_are_too_many(ann: User) -> None:
    found = ended(ann, "seq 100000 | xargs touch; echo done; sleep 30")
    assert (found["status"], found["reason"]) == ("failed", "disk_limit")
    assert f"more than {FILES} files" in found["message"]


def test_a_farm_of_links_is_followed_nowhere(ann: User) -> None:
    farm = "mkdir f; for i in $(seq 100); do ln -s /proc/self/root f/$i; done; ln -s / f/root"
    more = "for i in $(seq 60); do ln -s .. f/round$i; cp -a f f$i; done"
    found = ended(ann, f"{farm}; {more}; sleep 30")
    assert (found["status"], found["reason"]) == ("failed", "disk_limit")


def test_what_ignores_sigterm_and_forks_away_is_killed(ann: User) -> None:
    marker = f"86400.{secrets.randbelow(10**9)}"
    script = f"""
        trap '' TERM INT HUP
        (setsid sh -c "trap '' TERM; (setsid sleep {marker} &) ; sleep {marker}" &)
        echo begun
        while :; do sleep 1; done
    """
    build_id = ann.submit(steps(script))
    ann.wait_for_log(build_id, "begun")
    wait_until("they run", lambda: len(processes_with(marker)) >= 2, seconds=30)
    ann.cancel(build_id)
    assert ann.wait_for(build_id)["status"] == "cancelled"
    assert processes_with(marker) == []


# ── looking around ────────────────────────────────────────────────────────────────────────────


def test_nothing_on_the_network_is_within_reach(ann: User, stack: Stack) -> None:
    """The API, the broker, this machine by any name, and the metadata of clouds."""
    api, broker = urlsplit(stack.api_url), urlsplit(stack.redis.url)
    assert httpx.get(f"{stack.api_url}/healthz").is_success
    targets = [
        f"127.0.0.1 {api.port}",
        f"127.0.0.1 {broker.port}",
        f"localhost {api.port}",
        f"0.0.0.0 {api.port}",
        "169.254.169.254 80",
        "fd00:ec2::254 80",
        "10.0.0.1 80",
        "1.1.1.1 53",
    ]
    tries = "\n".join(
        f"timeout 3 bash -c 'exec 3<>/dev/tcp/{each.replace(' ', '/')}' && echo REACHED {each}"
        for each in targets
    )
    found = ended(ann, f"set +e\n{tries}\nls /sys/class/net 2>/dev/null\necho looked everywhere")
    assert "looked everywhere" in found["text"]
    assert "REACHED" not in found["text"]


def test_builds_at_the_same_time_do_not_see_each_other(ann: User) -> None:
    other = ann.submit(steps("echo the-other > file; echo begun; while :; do sleep 0.2; done"))
    ann.wait_for_log(other, "begun")
    found = ended(
        ann,
        "set +e\n"
        "for each in /proc/[0-9]*; do tr '\\0' ' ' < $each/cmdline; echo; done > here\n"
        "grep -c begun here\n"
        "find / -xdev -name file -exec cat {} + 2>/dev/null\n"
        "ls -d /build/../*/bld_* /tmp/baton* 2>/dev/null\n"
        "setsid sh -c 'kill -9 -1'\n"
        "sleep 1",
    )
    assert found["text"].partition("==> step 0\n")[2].startswith("0\n"), found["text"]
    assert "the-other" not in found["text"]
    assert "bld_" not in found["text"]
    assert ann.show(other)["status"] == "running"
    ann.cancel(other)
    assert ann.wait_for(other)["status"] == "cancelled"
