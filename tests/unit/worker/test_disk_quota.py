"""What a workspace holds, counted up to a limit."""

import os
from pathlib import Path

import pytest

from worker.disk_quota import DiskLimits, DiskQuota, measure
from worker.errors import QuotaExceeded

WIDE = DiskLimits(disk_bytes=1 << 40, files=1 << 30)


def test_what_is_there_is_counted_once(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "large").write_bytes(os.urandom(1 << 20))
    before, _ = measure(tmp_path, WIDE)
    os.link(tmp_path / "a" / "large", tmp_path / "a" / "b" / "again")
    (tmp_path / "away").symlink_to("/")
    (tmp_path / "round").symlink_to(tmp_path)
    used, files = measure(tmp_path, WIDE)
    assert files == 6
    assert 1 << 20 <= before <= used < before + (1 << 20)


def test_a_file_of_holes_takes_no_room(tmp_path: Path) -> None:
    with (tmp_path / "hole").open("wb") as file:
        file.truncate(1 << 34)
    used, _ = measure(tmp_path, WIDE)
    assert used < 1 << 20


def test_counting_ends_where_it_is_too_much(tmp_path: Path) -> None:
    for number in range(50):
        (tmp_path / str(number)).touch()
    assert measure(tmp_path, DiskLimits(disk_bytes=1 << 40, files=10))[1] == 11
    with pytest.raises(QuotaExceeded, match="more than 10 files"):
        DiskQuota(tmp_path, DiskLimits(disk_bytes=1 << 40, files=10)).check()
    (tmp_path / "large").write_bytes(os.urandom(1 << 20))
    with pytest.raises(QuotaExceeded, match="more than 1000 bytes on disk"):
        DiskQuota(tmp_path, DiskLimits(disk_bytes=1000, files=100)).check()


def test_a_workspace_that_is_gone_is_empty(tmp_path: Path) -> None:
    assert measure(tmp_path / "none", WIDE) == (0, 0)
