"""A store that is lost comes back from a backup, by the steps of docs/backup.md."""

import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.user import User, steps
from tests.support.needs import needs
from tests.support.stack import Stack
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
RESTORE = ROOT / "docs" / "backup" / "restore-redis.sh"

#: 80 lines in at least 8 s.
COUNTING = "i=0; while [ $i -lt 80 ]; do echo line $i; i=$((i+1)); sleep 0.1; done"


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Stack]:
    needs("redis-cli")
    with Stack(tmp_path) as stack:
        yield stack


def back_up(stack: Stack, backup: Path) -> None:
    """The page's two commands."""
    dump = ["redis-cli", "-u", stack.redis.url, "--rdb", str(backup)]
    for argv in (dump, ["redis-check-rdb", str(backup)]):
        subprocess.run(argv, check=True, capture_output=True)


def restore(backup: Path, data: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([RESTORE, backup, data], capture_output=True, text=True, check=False)


def test_a_lost_store_is_restored_and_builds_go_on(own: Stack, tmp_path: Path) -> None:
    own.worker(concurrency=2)
    with User(own) as ann:
        ended = ann.submit(steps("echo hello"))
        wait_until("it has ended", lambda: ann.show(ended)["status"] == "succeeded")
        running = ann.submit(steps(COUNTING))
        wait_until("it prints", lambda: "line 3" in ann.log(running))
        backup = tmp_path / "baton.rdb"
        back_up(own, backup)
        later = ann.submit(steps("true"))

        own.api.stop()
        own.redis.stop(signal.SIGKILL)
        shutil.rmtree(tmp_path / "appendonlydir")
        done = restore(backup, tmp_path)
        assert done.returncode == 0, done.stderr
        assert "keys restored" in done.stdout
        own.redis.start()
        own.start_api()

        assert ann.log(ended).splitlines()[-1] == "hello"
        assert ann.http.get(f"/builds/{later}").status_code == 404
        wait_until("it ends", lambda: ann.show(running)["status"] == "succeeded", seconds=30)
        build, log = ann.show(running), ann.log(running).splitlines()
        assert (build["attempt"], build["attempts"]) == (1, [])
        assert [line for line in log if "line" in line] == [f"line {n}" for n in range(80)]


def test_restoring_moves_aside_what_was_there_and_takes_no_half_backup(tmp_path: Path) -> None:
    needs("redis-server")
    data = tmp_path / "data"
    (data / "appendonlydir").mkdir(parents=True)
    (data / "appendonlydir" / "old").touch()
    half = tmp_path / "half.rdb"
    half.write_bytes(b"REDIS0010\xfa\x09redis-ver")

    refused = restore(half, data)
    assert refused.returncode == 1 and "no whole backup" in refused.stderr
    assert [path.name for path in data.iterdir()] == ["appendonlydir"]

    empty = tmp_path / "empty.rdb"
    empty.write_bytes(b"REDIS0006\xff" + bytes(8))  # version 6, the end, no checksum
    done = restore(empty, data)
    assert (done.returncode, done.stdout) == (0, "0 keys restored\n"), done.stderr
    (aside,) = data.glob("before-restore-*")
    assert (aside / "appendonlydir" / "old").exists()
    assert {path.name for path in data.iterdir()} == {aside.name, "appendonlydir"}
