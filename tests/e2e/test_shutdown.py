"""Stopping a worker: its build ends in time, or goes to another at once."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.test_cancel import alive
from tests.e2e.user import User, steps
from tests.support.stack import ExecutedStack, Stack
from tests.support.waiting import wait_until


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Stack]:
    """Its parts executed: how a command ends is what this is about."""
    with ExecutedStack(tmp_path) as stack:
        yield stack


def test_a_build_that_does_not_end_in_time_is_handed_back_and_started_at_once(own: Stack) -> None:
    first = own.worker(BATON_SHUTDOWN_GRACE="0.5")
    with User(own) as ann:
        # The first attempt would take a minute; the second one sees that it is the second.
        build_id = ann.submit(
            steps('echo attempt $BATON_ATTEMPT; [ "$BATON_ATTEMPT" = 2 ] || sleep 60')
        )
        ann.wait_for_log(build_id, "attempt 1")
        own.worker()
        first.stop(signal.SIGTERM)
        build = ann.wait_for(build_id)
        assert (build["status"], build["attempt"]) == ("succeeded", 2)
        [ended] = build["attempts"]
        assert (ended["attempt"], ended["reason"]) == (1, "worker_shutdown")
        log = ann.log(build_id)
        assert "attempt 1 ended: its worker was shut down" in log
        assert "attempt 2" in log


def test_a_worker_that_is_stopping_finishes_its_build_and_takes_no_other(own: Stack) -> None:
    worker = own.worker(concurrency=1)
    with User(own) as ann:
        running = ann.submit(steps("echo begun; sleep 3; echo over"))
        ann.wait_for_log(running, "begun")
        assert worker.process
        worker.process.send_signal(signal.SIGTERM)
        wait_until("it stops", lambda: "stopping" in worker.output())
        waiting = ann.submit(steps("true"))
        assert worker.process.wait(30) == 0
        build = ann.wait_for(running)
        assert (build["status"], build["attempt"]) == ("succeeded", 1)
        assert ann.show(waiting)["status"] == "queued"
        own.worker()
        assert ann.wait_for(waiting)["status"] == "succeeded"


def test_a_second_signal_ends_everything_at_once(own: Stack) -> None:
    marker = "86397.5"  # seconds that nobody else sleeps
    worker = own.worker()
    with User(own) as ann:
        build_id = ann.submit(steps(f"echo begun; sleep {marker} & wait"))
        ann.wait_for_log(build_id, "begun")
        assert worker.process
        worker.process.send_signal(signal.SIGTERM)
        wait_until("it stops", lambda: "stopping" in worker.output())
        begun = time.monotonic()
        worker.process.send_signal(signal.SIGTERM)
        worker.process.wait(30)
        assert time.monotonic() - begun < 30  # its grace is 60 s
        wait_until("all of the build is gone", lambda: not alive(marker))
