"""The wheel: what is in it, what it says of itself, and that it works away from the checkout."""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from packaging.metadata import Metadata
from packaging.utils import parse_wheel_filename

ROOT: Final = Path(__file__).parents[2]

pytestmark = pytest.mark.slow  # pip fetches setuptools, and everything starts anew


def tracked() -> list[str]:
    """The files of the checkout that are, or can be, in a commit."""
    git = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    done = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy: pip leaves what it makes beside its sources."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in tracked():
        copy = folder / "sources" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, copy)
    pip: list[str | Path] = [sys.executable, "-m", "pip", "--quiet"]
    subprocess.run(
        [*pip, "wheel", "--no-deps", "--wheel-dir", folder, folder / "sources"], check=True
    )
    [built] = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An environment with the wheel, and with the packages of this one below it: none of them is
    installed again, and the checkout is not on its path."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    pip: list[str | Path] = [sys.executable, "-m", "pip", "--quiet"]
    subprocess.run([*pip, "--python", python, "install", "--no-deps", wheel], check=True)
    [packages] = folder.glob("lib/python*/site-packages")
    (packages / "below.pth").write_text(sysconfig.get_path("purelib") + "\n")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def test_it_holds_all_files_of_the_package_and_no_others(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    inside = {name for name in names if ".dist-info/" not in name}
    assert inside == {name for name in tracked() if name.startswith(("app/", "worker/"))}
    assert {"app/py.typed", "worker/py.typed", "app/api/docs/docs.css"} <= inside


def test_it_says_what_an_index_shows(wheel: Path) -> None:
    name, _, _, tags = parse_wheel_filename(wheel.name)
    assert name == "baton"
    assert [str(tag) for tag in tags] == ["py3-none-any"]
    archive = zipfile.ZipFile(wheel)
    [info] = [each for each in archive.namelist() if each.endswith(".dist-info/METADATA")]
    said = Metadata.from_email(archive.read(info), validate=True)
    assert said.license_expression == "Apache-2.0"
    assert said.license_files == ["LICENSE"]
    licence = archive.read(info.replace("METADATA", "licenses/LICENSE"))
    assert licence == (ROOT / "LICENSE").read_bytes()
    assert said.description_content_type == "text/markdown"
    assert said.description == (ROOT / "README.md").read_text()
    assert said.summary
    assert said.keywords
    assert {"Operating System :: POSIX :: Linux", "Typing :: Typed"} <= set(said.classifiers or ())
    assert {"Documentation", "Source", "Issues", "Changelog"} <= set(said.project_urls or ())


def test_the_demo_runs_where_only_the_wheel_is(environment: Path, tmp_path: Path) -> None:
    python, baton = environment / "bin" / "python", environment / "bin" / "baton"
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "LANG": "C.UTF-8"}
    where = [str(python), "-c", "import app, worker; print(app.__file__, worker.__file__)"]
    found = subprocess.run(where, cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    assert all(path.startswith(f"{environment}/") for path in found.stdout.split())
    done = subprocess.run(
        [str(baton), "demo"],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "`baton dev` starts the same" in done.stdout
    assert list(tmp_path.iterdir()) == []
