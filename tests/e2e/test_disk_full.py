"""Disks that are full: each build has a clear end, with its log, and the next one runs."""

import os
import random
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.user import User, steps
from tests.support.needs import needs
from tests.support.repository import Repository
from tests.support.stack import Stack

MEGABYTE = 1024 * 1024
NO_SPACE = "No space left on device"


@contextmanager
def small_disk(megabytes: int) -> Iterator[Path]:
    """A file system of that size, for anyone to enter."""
    with tempfile.TemporaryDirectory(prefix="small-disk-") as folder:
        Path(folder).chmod(0o755)
        disk = Path(folder) / "disk"
        disk.mkdir()
        options = f"size={megabytes}m,mode=755"
        mount = [needs("mount"), "-t", "tmpfs", "-o", options, "tmpfs", str(disk)]
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
        if done.returncode:
            why = f"no small disk to be had here: {done.stderr.strip()}"
            if os.environ.get("CI") and os.geteuid() == 0:
                pytest.fail(why)
            pytest.skip(why)
        try:
            yield disk
        finally:
            # Lazily: a worker that is about to end may still have files there.
            subprocess.run([needs("umount"), "--lazy", str(disk)], check=True)


@contextmanager
def filled(disk: Path) -> Iterator[None]:
    """The disk, full to the last byte."""
    ballast = disk / "ballast"
    try:
        with ballast.open("wb", buffering=0) as file:
            for size in (MEGABYTE // 16, 1):
                try:
                    while True:
                        file.write(b"x" * size)
                except OSError as error:
                    assert NO_SPACE in str(error)  # noqa: PT017  it always comes to this
        yield
    finally:
        ballast.unlink()


@pytest.fixture(scope="module")
def disk() -> Iterator[Path]:
    with small_disk(8) as disk:
        yield disk


@pytest.fixture(scope="module", params=["process", "bubblewrap"])
def stack(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, disk: Path
) -> Iterator[Stack]:
    """One slot, whose workspaces are on the small disk."""
    if request.param == "bubblewrap":
        needs("bwrap")
    with Stack(tmp_path_factory.mktemp("stack"), sandbox=request.param) as stack:
        stack.worker(concurrency=1, BATON_WORKSPACES=str(disk / "workspaces"))
        yield stack


@pytest.fixture
def ann(stack: Stack) -> Iterator[User]:
    """She finds the worker well, and leaves it well."""
    with User(stack) as user:
        yield user
        build = user.run(steps("head -c 4000000 /dev/zero > big; ls -l big"))
        assert build["status"] == "succeeded", build


def test_a_step_that_fills_the_disk_fails_and_its_log_is_whole(ann: User) -> None:
    build_id = ann.submit(
        steps("echo before", "head -c 64000000 /dev/zero > big; echo never", "echo never")
    )
    build = ann.wait_for(build_id)
    assert (build["status"], build["reason"]) == ("failed", "step_failed")
    assert [step["status"] for step in build["steps"]] == ["succeeded", "failed", "skipped"]
    log = ann.log(build_id)
    assert "before\n" in log
    assert NO_SPACE in log
    assert "\nnever" not in log
    assert log.endswith("[step 'step 1' exited with 1]\n")


def test_a_step_may_live_with_a_full_disk(ann: User) -> None:
    build_id = ann.submit(steps("head -c 64000000 /dev/zero > big || rm big; echo went on"))
    assert ann.wait_for(build_id)["status"] == "succeeded"
    assert ann.log(build_id).endswith("went on\n")


def test_a_disk_that_a_step_left_full_ends_the_build_with_a_reason(ann: User) -> None:
    """The next step's script finds no room."""
    build_id = ann.submit(steps("head -c 64000000 /dev/zero > big || true", "echo never"))
    build = ann.wait_for(build_id)
    assert (build["status"], build["reason"]) == ("errored", "sandbox_failed")
    assert NO_SPACE in build["message"]
    assert NO_SPACE in ann.log(build_id)


def test_a_checkout_that_fills_the_disk_says_so(ann: User, tmp_path: Path) -> None:
    # The one is too large for git's own files, the other for them and the files checked out.
    too_large, twice = Repository(tmp_path / "too-large"), Repository(tmp_path / "twice")
    shas = []
    for repository, size in ((too_large, 16 * MEGABYTE), (twice, 5 * MEGABYTE)):
        (repository.path / "big").write_bytes(random.Random(1).randbytes(size))  # noqa: S311
        shas.append(repository.commit(small="text"))
    sources = [{"git": too_large.url}, {"git": too_large.url, "sha": shas[0]}, {"git": twice.url}]
    for source in sources:
        build_id = ann.submit(steps("echo never", source=source))
        build = ann.wait_for(build_id)
        assert (build["status"], build["reason"]) == ("errored", "checkout_failed")
        assert NO_SPACE in build["message"] or "Out of diskspace" in build["message"]  # git's words
        assert build["message"] in ann.log(build_id)


def test_a_disk_that_others_filled_ends_the_build_with_a_reason(ann: User, disk: Path) -> None:
    with filled(disk):
        build = ann.run(steps("echo never"))
    assert (build["status"], build["reason"]) == ("errored", "sandbox_failed")
    assert NO_SPACE in build["message"]


def test_a_log_that_the_worker_cannot_keep_is_cut_off_visibly(tmp_path: Path) -> None:
    with (
        small_disk(1) as disk,
        tempfile.TemporaryDirectory(prefix="workspaces-") as folder,
        Stack(tmp_path) as stack,
        User(stack) as ann,
    ):
        Path(folder).chmod(0o755)
        workspaces = str(Path(folder) / "workspaces")
        stack.worker(concurrency=1, TMPDIR=str(disk), BATON_WORKSPACES=workspaces)
        build_id = ann.submit(steps("echo first; seq 300000; echo last > done; cat done"))
        build = ann.wait_for(build_id)
        log = ann.log(build_id)
        assert build["status"] == "succeeded"
        assert log.endswith("[log cut off: the worker cannot write it; the build goes on]\n")
        kept = [int(line) for line in log.splitlines()[2:-3]]
        assert kept == list(range(1, len(kept) + 1))  # up to there nothing is missing
        assert len(kept) > 1000
        assert build["log"]["length"] == len(log)

        with filled(disk):
            from_the_start = ann.submit(steps("echo unheard"))
            assert ann.wait_for(from_the_start)["status"] == "succeeded"
            assert ann.log(from_the_start).startswith("\n[log cut off: ")

        whole = ann.submit(steps("seq 1000"))
        assert ann.wait_for(whole)["status"] == "succeeded"
        assert ann.log(whole).endswith("\n1000\n")
