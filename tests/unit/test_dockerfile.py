"""The image's recipe: hadolint finds nothing, and it says of itself what the package says."""

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any, Final

from tests.support.needs import needs

ROOT: Final = Path(__file__).parents[2]
DOCKERFILE: Final = ROOT / "Dockerfile"
PROJECT: Final[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def hadolint(dockerfile: Path) -> subprocess.CompletedProcess[str]:
    command = [needs("hadolint"), "--no-color", str(dockerfile)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_hadolint_finds_nothing() -> None:
    done = hadolint(DOCKERFILE)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_hadolint_sees_what_is_wrong(tmp_path: Path) -> None:
    wrong = tmp_path / "Dockerfile"
    wrong.write_text(DOCKERFILE.read_text().replace("USER 10001:10001", "USER root"))
    done = hadolint(wrong)
    assert done.returncode == 1
    assert "DL3002" in done.stdout


def test_it_runs_as_nobody_in_particular() -> None:
    users = re.findall(r"^USER (\d+):(\d+)$", DOCKERFILE.read_text(), re.MULTILINE)
    assert users
    assert all(int(uid) > 0 and int(gid) > 0 for uid, gid in users)


def test_both_stages_stand_on_the_one_base_that_a_release_names() -> None:
    text = DOCKERFILE.read_text()
    assert re.findall(r"^FROM (\S+)", text, re.MULTILINE) == ["${PYTHON}", "${PYTHON}"]
    base = re.search(r"^ARG PYTHON=python:(\d\.\d+)-", text, re.MULTILINE)
    assert base
    assert f"Programming Language :: Python :: {base[1]}" in PROJECT["classifiers"]
    arguments = set(re.findall(r"^ARG (\w+)", text, re.MULTILINE))
    release = (ROOT / "CONTRIBUTING.md").read_text()
    assert set(re.findall(r"--build-arg (\w+)=", release)) == arguments


def test_its_labels_say_what_the_package_says() -> None:
    found = re.findall(r'org\.opencontainers\.image\.([\w.]+)="([^"]*)"', DOCKERFILE.read_text())
    labels = dict(found)
    assert len(found) == len(labels)
    assert labels["licenses"] == PROJECT["license"]
    assert labels["url"] == PROJECT["urls"]["Homepage"]
    assert labels["documentation"] == PROJECT["urls"]["Documentation"]
    assert labels["source"] == PROJECT["urls"]["Source"]
    assert {"title", "description", "version", "revision", "base.name"} <= set(labels)
