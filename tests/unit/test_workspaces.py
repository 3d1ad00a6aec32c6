"""The worker's own care with directories that builds fill."""

import os
import signal
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from worker.errors import SandboxFailed
from worker.sandbox.deletion import delete_tree
from worker.sandbox.user import NOBODY, BuildUser, build_user
from worker.sandbox.workspaces import FOLDERS, Workspaces

OWN = BuildUser(uid=os.geteuid(), gid=os.getegid(), other=False)


def test_the_directory_can_be_entered_but_not_listed_by_others(tmp_path: Path) -> None:
    made = Workspaces(tmp_path / "a" / "b", OWN)
    assert made.folder.stat().st_mode & 0o777 == 0o711


def test_a_directory_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with pytest.raises(SandboxFailed, match="symbolic link"):
        Workspaces(tmp_path / "link", OWN)


def test_a_file_in_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SandboxFailed, match="cannot use"):
        Workspaces(tmp_path / "file", OWN)


def test_somebody_elses_directory_is_refused() -> None:
    other = Path("/proc/1") if os.geteuid() != Path("/proc/1").stat().st_uid else _nobodys()
    try:
        with pytest.raises(SandboxFailed, match="belongs to uid"):
            Workspaces(other, OWN)
    finally:
        if other.parent != Path("/proc"):
            other.rmdir()


def _nobodys() -> Path:
    """Only root comes here, and only root can make such a directory."""
    folder = Path("/tmp") / f"baton-test-{os.getpid()}"
    folder.mkdir()
    os.chown(folder, NOBODY, NOBODY)
    return folder


@pytest.mark.parametrize("name", ["", "..", "a/b", "-rf", ".hidden", "a\0b", "x" * 101])
def test_names_that_are_no_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SandboxFailed, match="part of a directory's name"):
        Workspaces(tmp_path / "w", OWN).make(name)


def test_two_workspaces_of_one_name_differ(tmp_path: Path) -> None:
    made = Workspaces(tmp_path / "w", OWN)
    first, second = made.make("bld_1"), made.make("bld_1")
    assert first != second
    assert sorted(each.name for each in first.iterdir()) == ["home", "source", "tmp"]


def test_only_a_workspace_is_removed(tmp_path: Path) -> None:
    made = Workspaces(tmp_path / "w", OWN)
    victim = tmp_path / "victim"
    victim.mkdir()
    with pytest.raises(SandboxFailed, match="not a workspace"):
        made.remove(victim)
    assert victim.exists()


def test_a_workspace_replaced_by_a_link_is_not_written_through(tmp_path: Path) -> None:
    made = Workspaces(tmp_path / "w", OWN)
    root = made.make("bld_1")
    made.remove(root)
    root.symlink_to(tmp_path)
    with pytest.raises(SandboxFailed, match="cannot write"):
        made.write_script(root, "exit 0")


def test_a_tmp_that_became_a_link_or_a_file_is_a_directory_again(tmp_path: Path) -> None:
    made = Workspaces(tmp_path / "w", OWN)
    root = made.make("bld_1")
    (root / "tmp" / "kept").touch()
    made.restore(root, "tmp")
    assert (root / "tmp" / "kept").exists()
    (root / "tmp" / "kept").unlink()
    for link in (True, False):
        (root / "tmp").rmdir()
        if link:
            (root / "tmp").symlink_to("/")
        else:
            (root / "tmp").touch()
        made.restore(root, "tmp")
        assert (root / "tmp").is_dir()
        assert not (root / "tmp").is_symlink()


def test_a_tree_deeper_than_a_path_may_be_long_is_deleted(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    fd = os.open(root, os.O_RDONLY)
    for _ in range(3000):  # of 11 characters: a path of 33,000
        os.mkdir("a" * 10, dir_fd=fd)
        below = os.open("a" * 10, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    delete_tree(root)
    assert not root.exists()


def test_links_are_deleted_and_what_they_point_to_is_not(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o750)
    (outside / "file").touch()
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "sub" / "folder").symlink_to(outside)
    (root / "file").symlink_to(outside / "file")
    (root / "dangling").symlink_to("nowhere")
    delete_tree(root)
    assert not root.exists()
    assert (outside / "file").exists()
    assert outside.stat().st_mode & 0o777 == 0o750


def test_a_root_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "sub").mkdir(parents=True)
    (tmp_path / "root").symlink_to(outside)
    with pytest.raises(OSError, match="root"):
        delete_tree(tmp_path / "root")
    assert (outside / "sub").exists()


def test_many_files_and_folders_are_deleted(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for number in range(300):
        folder = root / f"folder{number}"
        folder.mkdir(parents=True)
        for each in range(10):
            (folder / str(each)).touch()
        folder.chmod(0)
    delete_tree(root)
    assert not root.exists()
    delete_tree(root)


def test_builds_never_run_as_root() -> None:
    with pytest.raises(SandboxFailed, match="do not run as root"):
        build_user(0)


def test_the_default_is_nobody_for_root_and_the_own_user_for_others() -> None:
    found = build_user(None)
    assert found.uid == (NOBODY if os.geteuid() == 0 else os.geteuid())
    assert found.other is (os.geteuid() == 0)


def test_what_a_killed_worker_left_is_swept_and_what_a_living_one_has_is_not(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "w"
    killed = os.fork()
    if killed == 0:
        Workspaces(folder, OWN).make("killed")
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(killed, 0)
    [left] = folder.iterdir()
    (left / "source" / "file").touch()
    living = Workspaces(folder, OWN)
    kept = living.make("living")

    Workspaces(folder, OWN).sweep()

    assert list(folder.iterdir()) == [kept]
    living.remove(kept)
    living.remove(kept)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("step", [(tempfile, "mkdtemp"), (os, "open")], ids=lambda step: step[1])
def test_a_sweep_that_is_faster_than_the_lock_costs_a_workspace_but_not_the_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: tuple[ModuleType, str]
) -> None:
    living, other = Workspaces(tmp_path, OWN), Workspaces(tmp_path, OWN)
    do = getattr(*step)
    swept: list[Path] = []

    def do_and_sweep(*args: Any, **more: Any) -> Any:
        done = do(*args, **more)
        if not swept:
            swept.extend(tmp_path.iterdir())
            other.sweep()
        return done

    monkeypatch.setattr(*step, do_and_sweep)
    made = living.make("build")
    assert len(swept) == 1
    assert swept[0] != made
    assert list(tmp_path.iterdir()) == [made]
    assert {each.name for each in made.iterdir()} == set(FOLDERS)
    other.sweep()
    assert made.exists()
    living.remove(made)
