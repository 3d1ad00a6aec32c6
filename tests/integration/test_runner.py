"""A whole run in this process: a real sandbox, and a real server that behaves badly."""

import base64
import json
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response

from app.contract.problems import Code
from app.observability import log_context
from tests.support.waiting import wait_until
from tests.support.worker.api_double import (
    BUILD,
    TOKEN,
    Double,
    bad_gateway,
    cut_off_after,
    lost,
    not_taken,
    problem,
)
from tests.support.worker.calls import join_calls
from tests.support.worker.sandboxed import new_marker, place, processes_with, sandbox_of
from worker import heartbeat, log_shipper
from worker.api_client import RunApi, connections
from worker.checkout import Checkout
from worker.dependencies import Dependencies
from worker.disk_quota import DiskLimits
from worker.egress_proxy import AddressPolicy
from worker.errors import SandboxFailed
from worker.runner import run_build
from worker.sandbox import Command, Process, Sandbox, Workspace
from worker.shutdown import Shutdown


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with place() as workspaces:
        yield sandbox_of("process", workspaces)


def run(url: str, sandbox: Sandbox) -> None:
    with connections(url) as http, log_context.bound():  # as in a task: nothing of it stays
        dependencies = Dependencies(
            connect=lambda build_id, token: RunApi(http, build_id=build_id, token=token),
            sandbox=sandbox,
            checkout=Checkout(protocols=["https"], policy=AddressPolicy()),
            worker_name="test",
            network=False,
            disk=DiskLimits(disk_bytes=1 << 30, files=10_000),
            shutdown=Shutdown(60, print),
        )
        run_build(dependencies, BUILD, TOKEN)
        join_calls()


@contextmanager
def running(url: str, sandbox: Sandbox) -> Iterator[threading.Thread]:
    thread = threading.Thread(target=run, args=(url, sandbox))
    thread.start()
    yield thread
    thread.join(60)
    assert not thread.is_alive()


def ended(double: Double) -> tuple[str, str | None]:
    assert double.result is not None
    return double.result["status"], double.result["reason"]


def test_a_run_goes_from_claim_to_result(double: Double, url: str, sandbox: Sandbox) -> None:
    double.scripts = ("echo one; echo $BATON_BUILD_ID", "echo two; exit 3", "echo three")
    double.start, double.log = 4, bytearray(b"old\n")
    run(url, sandbox)
    assert ended(double) == ("failed", "step_failed")
    assert double.log.decode() == (
        f"old\n==> step 0\none\n{BUILD}\n==> step 1\ntwo\n[step 'step 1' exited with 3]\n"
    )
    assert double.result
    assert [step["status"] for step in double.result["steps"]] == ["succeeded", "failed", "skipped"]


def test_a_claim_whose_answer_is_lost_runs_the_build_once(
    double: Double, url: str, sandbox: Sandbox
) -> None:
    double.scripts = ("echo once",)
    double.misbehave.extend([cut_off_after, cut_off_after])
    run(url, sandbox)
    assert ended(double) == ("succeeded", None)
    assert double.log.count(b"once") == 1
    assert len(double.nonces) == 3
    assert len(set(double.nonces)) == 1


@pytest.mark.parametrize("noise", [bad_gateway, not_taken])
def test_an_outage_in_the_middle_changes_nothing(
    double: Double, url: str, sandbox: Sandbox, noise: Any
) -> None:
    double.scripts = ("echo begun; sleep 2; echo over",)
    with running(url, sandbox):
        wait_until("it has begun", lambda: b"begun" in double.log)
        double.always = noise
        seen = len(double.requests)
        wait_until("it was refused some times", lambda: len(double.requests) > seen + 5)
        double.always = None
    assert ended(double) == ("succeeded", None)
    assert bytes(double.log) == b"==> step 0\nbegun\nover\n"


def test_a_lost_lease_ends_the_build_and_reports_nothing(
    double: Double, url: str, sandbox: Sandbox
) -> None:
    marker = new_marker()
    double.scripts = (f"trap '' TERM; echo begun; sleep {marker} & sleep {marker}",)
    with running(url, sandbox):
        wait_until("it has begun", lambda: processes_with(marker))
        double.always = lost
    assert not processes_with(marker)
    assert double.result is None


def test_a_piece_of_the_log_that_something_refuses_does_not_cost_the_result(
    double: Double, url: str, sandbox: Sandbox
) -> None:
    """A firewall for web applications takes what a compiler prints for an attack."""

    async def wall(_: Double, __: Request, body: bytes) -> Response | None:
        if body.startswith(b"{"):
            body += base64.urlsafe_b64decode(json.loads(body).get("log_tail", ""))
        return Response("blocked", 403, media_type="text/plain") if b"passwd" in body else None

    double.claim_more = {"report_window": 4}
    double.scripts = ("echo begun; sleep 1; echo /etc/passwd; exit 3",)
    double.always = wall
    run(url, sandbox)
    assert ended(double) == ("failed", "step_failed")
    assert double.result
    assert double.result["message"].endswith("; the end of the log could not be delivered")
    assert bytes(double.log) == b"==> step 0\nbegun\n"


def test_a_short_build_takes_two_calls(
    double: Double, url: str, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However slow this machine is: nothing is said that the result says anyway."""
    monkeypatch.setattr(log_shipper, "_FIRST_LINGER", 600.0)
    monkeypatch.setattr(heartbeat, "_FIRST_LINGER", 600.0)
    double.scripts = ("echo one", "echo two")
    run(url, sandbox)
    assert [method for method, _ in double.requests] == ["POST", "PUT"]
    assert bytes(double.log) == b"==> step 0\none\n==> step 1\ntwo\n"


@pytest.mark.parametrize("old", [False, True])
def test_the_whole_log_arrives_at_an_api_of_either_version(
    double: Double, url: str, sandbox: Sandbox, *, old: bool
) -> None:
    double.old = old
    double.scripts = ("echo begun; sleep 1; seq 20000",)
    run(url, sandbox)
    assert ended(double) == ("succeeded", None)
    numbers = "".join(f"{n}\n" for n in range(1, 20001))
    assert double.log.decode() == f"==> step 0\nbegun\n{numbers}"


def test_a_worker_whose_disk_is_full_claims_nothing(
    double: Double, url: str, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/proc/no-such-place")
    with pytest.raises(OSError, match="no-such-place"):
        run(url, sandbox)
    assert double.requests == []


def test_a_log_that_is_full_ends_with_a_digest_of_what_there_is(
    double: Double, url: str, sandbox: Sandbox
) -> None:
    async def full(double: Double, request: Request, body: bytes) -> Response | None:
        if request.method == "PATCH" and len(double.log) + len(body) > 50:
            return problem(Code.LOG_FULL, 413, end=len(double.log))
        return None

    double.always = full
    double.scripts = ("echo first; sleep 0.5; yes | head -c 1000; sleep 0.5; echo last",)
    run(url, sandbox)
    assert ended(double) == ("succeeded", None)
    assert bytes(double.log) == b"==> step 0\nfirst\n"


def test_a_log_is_cut_at_the_limit_of_the_claim(double: Double, url: str, sandbox: Sandbox) -> None:
    double.claim_more = {"log_limit": 100}
    double.scripts = ("yes | head -c 10000",)
    run(url, sandbox)
    assert ended(double) == ("succeeded", None)
    assert len(double.log) == 100
    assert double.log.endswith(b"[log truncated after 100 bytes; the build goes on]\n")


@pytest.mark.parametrize("from_start", [True, False])
def test_an_api_that_never_has_the_right_log_is_left_in_the_end(
    double: Double, url: str, sandbox: Sandbox, *, from_start: bool
) -> None:
    """And is not asked more than a few times a second until then."""

    async def incomplete(double: Double, _: Request, body: bytes) -> Response | None:
        if b"succeeded" in body and b"log_sha256" in body:
            end = double.start if from_start else len(double.log)
            return problem(Code.LOG_INCOMPLETE, 412, end=end)
        return None

    double.always = incomplete
    double.claim_more = {"report_window": 2}
    begun = time.monotonic()
    run(url, sandbox)
    assert double.result is None
    assert time.monotonic() - begun < 20
    assert len(double.requests) < 40


# ── a sandbox that fails ──────────────────────────────────────────────────────────────────────────


@dataclass
class Failing:
    """A real sandbox with one thing that goes wrong in it."""

    real: Sandbox
    wrong: str
    name: str = "failing"
    isolates: bool = False

    def workspace(self, name: str) -> Workspace:
        if self.wrong == "workspace":
            raise SandboxFailed("no space left on device")
        return self.real.workspace(name)

    def start(self, command: Command, workspace: Workspace) -> Process:
        if self.wrong == "start":
            raise SandboxFailed("no processes left")
        process = self.real.start(command, workspace)
        return Unwaitable(process) if self.wrong == "wait" else process

    def remove(self, workspace: Workspace) -> None:
        self.real.remove(workspace)
        if self.wrong == "remove":
            raise SandboxFailed("the workspace is busy")

    def close(self) -> None:
        self.real.close()


class Unwaitable:
    """A process whose supervisor was killed when it was told to end."""

    def __init__(self, real: Process) -> None:
        self._real = real
        self._told = False

    @property
    def output(self) -> int:
        return self._real.output

    def wait(self, timeout: float) -> int | None:
        if self._told:
            raise SandboxFailed("the supervisor was killed")
        return self._real.wait(timeout)

    def terminate(self) -> None:
        self._told = True

    def close(self) -> None:
        self._real.close()


@pytest.mark.parametrize("wrong", ["workspace", "start"])
def test_a_sandbox_that_does_not_start_is_not_the_builds_fault(
    double: Double, url: str, sandbox: Sandbox, wrong: str
) -> None:
    run(url, Failing(sandbox, wrong))
    assert ended(double) == ("errored", "sandbox_failed")
    assert b" left" in double.log


@pytest.mark.parametrize(
    ("script", "end"), [("true", ("succeeded", None)), ("exit 1", ("failed", "step_failed"))]
)
def test_a_workspace_that_stays_behind_does_not_change_the_result(
    double: Double, url: str, sandbox: Sandbox, script: str, end: tuple[str, str | None]
) -> None:
    double.scripts = (script,)
    run(url, Failing(sandbox, "remove"))
    assert ended(double) == end


def test_a_cancelled_build_is_cancelled_however_its_processes_ended(
    double: Double, url: str, sandbox: Sandbox
) -> None:
    marker = new_marker()
    double.scripts = (f"sleep {marker}",)
    with running(url, Failing(sandbox, "wait")):
        wait_until("it runs", lambda: processes_with(marker))
        double.cancel = True
    assert ended(double) == ("cancelled", "cancelled")
    assert not processes_with(marker)


def test_nothing_is_left_on_the_disk(double: Double, url: str) -> None:
    with place() as workspaces:
        double.scripts = ("mkdir -p a/b; chmod 0 a; touch x",)
        run(url, sandbox_of("process", workspaces))
        assert ended(double) == ("succeeded", None)
        assert [path for path in Path(workspaces).iterdir() if path.is_dir()] == []
