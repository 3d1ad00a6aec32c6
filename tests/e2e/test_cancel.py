"""Cancelling: at once while queued, to the last process while running."""

import subprocess
from pathlib import Path

from tests.e2e.user import User, steps
from tests.support.stack import Stack
from tests.support.waiting import wait_until


def alive(marker: str) -> list[str]:
    """Processes whose command line holds `marker`, zombies aside."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                if marker in (process / "cmdline").read_text().replace("\0", " "):
                    found.append(process.name)
            except OSError:
                continue
    return found


def test_a_queued_build_is_cancelled_at_once(own: Stack) -> None:
    with User(own) as ann:  # no worker: it stays queued
        build_id = ann.submit(steps("echo never"))
        build = ann.cancel(build_id)
        assert (build["status"], build["cancelled_by"]) == ("cancelled", "auth0|ann")
        assert ann.cancel(build_id)["status"] == "cancelled"
        own.worker()
        after = ann.run(steps("true"))
        assert after["status"] == "succeeded"
        assert ann.show(build_id)["status"] == "cancelled"
        assert ann.log(build_id) == ""


def test_cancelling_a_running_build_ends_every_process_of_it(ann: User) -> None:
    marker = "86399.25"  # seconds that nobody else sleeps
    build_id = ann.submit(
        steps(
            f"trap 'echo asked to end' TERM; (setsid sh -c 'trap \"\" TERM; sleep {marker}' &); "
            f"sh -c 'sleep {marker} & wait' & echo started; sleep {marker} & wait; sleep {marker}"
        )
    )
    ann.wait_for_log(build_id, "started")
    wait_until("the tree is there", lambda: len(alive(marker)) >= 3)
    ann.cancel(build_id)
    build = ann.wait_for(build_id)
    assert (build["status"], build["reason"]) == ("cancelled", "cancelled")
    assert build["cancelled_by"] == ann.id
    assert "asked to end" in ann.log(build_id)
    wait_until("all of the tree is gone", lambda: not alive(marker))


def test_a_build_that_has_ended_cannot_be_cancelled(ann: User) -> None:
    build = ann.run(steps("true"))
    answer = ann.http.post(f"/builds/{build['id']}/cancel")
    assert (answer.status_code, answer.json()["type"]) == (
        409,
        "urn:baton:problem:not-cancellable",
    )


def test_nothing_is_left_in_the_process_list_after_a_build(ann: User) -> None:
    marker = "86398.75"
    build = ann.run(steps(f"(setsid sleep {marker} &) ; sleep 0.2"))
    assert build["status"] == "succeeded"
    listed = subprocess.run(["ps", "-ef"], check=True, capture_output=True, text=True).stdout
    assert marker not in listed
