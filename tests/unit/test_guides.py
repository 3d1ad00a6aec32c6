"""The guides for who changes Baton say what is there: files, names, states, rooms, versions."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from app.builds.lifecycle import TRANSITIONS
from tests.support.definitions import names

ROOT = Path(__file__).parents[2]
GUIDES = ["CONTRIBUTING.md", "SECURITY.md", "docs/architecture.md"]

#: `folder/file`, `folder/file.py::name`, `folder/`; and files that lie at the top.
PLACE = re.compile(
    r"`((?:app|worker|tests|docs|benchmarks|chaos|\.ci|\.github)/[\w/.-]*"
    r"|[\w.-]+\.(?:toml|md|yml|yaml|lock)|Makefile|Dockerfile|LICENSE)(?:::([\w.]+))?`"
)


def places(guide: str) -> list[tuple[str, str]]:
    return sorted(set(PLACE.findall(_text(guide))))


@pytest.mark.parametrize("guide", GUIDES)
def test_every_place_that_a_guide_names_is_there(guide: str) -> None:
    found = places(guide)
    assert found
    for place, name in found:
        path = ROOT / place
        assert path.is_dir() if place.endswith("/") else path.exists(), f"{guide}: {place}"
        assert not name or name in names(path), f"{guide}: {place} has no {name}"


def test_the_states_are_those_of_the_lifecycle() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \|", _text("docs/architecture.md"), re.MULTILINE)
    allowed = [(before, after) for before, afters in TRANSITIONS.items() for after in afters]
    assert sorted(rows) == sorted(allowed)


@pytest.mark.parametrize("package", ["app", "worker"])
def test_the_floor_plan_is_the_one_that_is_held(package: str) -> None:
    linter: dict[str, Any] = tomllib.loads(_text("pyproject.toml"))["tool"]["importlinter"]
    (layers,) = [
        each["layers"] for each in linter["contracts"] if each.get("containers") == [package]
    ]
    _, _, table = _text("docs/architecture.md").partition(f"\n| floor | {package} | holds |\n")
    rooms = re.findall(r"^\| (\d+) \| `(\w+)` \|", table.partition("\n\n")[0], re.MULTILINE)
    floors = enumerate(reversed(layers))
    held = [(str(floor), room) for floor, layer in floors for room in layer.split(" | ")]
    assert sorted(rooms) == sorted(held)
    assert [int(floor) for floor, _ in rooms] == sorted((int(f) for f, _ in held), reverse=True)


def test_the_changelog_has_what_is_to_come_and_the_version_that_is() -> None:
    version = tomllib.loads(_text("pyproject.toml"))["project"]["version"]
    headings = re.findall(r"^## \[(.*?)\](.*)$", _text("CHANGELOG.md"), re.MULTILINE)
    assert headings[0] == ("Unreleased", "")
    assert headings[1][0] == version
    assert all(re.fullmatch(r" - \d{4}-\d\d-\d\d", day) for _, day in headings[1:])


def _text(name: str) -> str:
    return (ROOT / name).read_text()
