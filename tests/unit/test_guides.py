"""The guides for who changes Baton name files and names that are there; the changelog, versions."""

import re
import tomllib
from pathlib import Path

import pytest

from tests.support.definitions import names

ROOT = Path(__file__).parents[2]
GUIDES = ["CONTRIBUTING.md", "SECURITY.md"]

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


def test_the_changelog_has_what_is_to_come_and_the_version_that_is() -> None:
    version = tomllib.loads(_text("pyproject.toml"))["project"]["version"]
    headings = re.findall(r"^## \[(.*?)\](.*)$", _text("CHANGELOG.md"), re.MULTILINE)
    assert headings[0] == ("Unreleased", "")
    assert headings[1][0] == version
    assert all(re.fullmatch(r" - \d{4}-\d\d-\d\d", day) for _, day in headings[1:])


def _text(name: str) -> str:
    return (ROOT / name).read_text()
