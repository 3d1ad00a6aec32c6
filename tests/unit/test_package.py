"""What the package says of itself, and what it needs."""

import ast
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any, Final

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from app import cli

ROOT: Final = Path(__file__).parents[2]
PROJECT: Final[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OURS: Final = {"app", "worker"}


def imported(file: Path) -> set[str]:
    """The packages that a file of ours imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            found.update(each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add(node.module or "")
    return {name.partition(".")[0] for name in found}


def asked_for() -> set[str]:
    """The packages that Baton needs by name, those of its extras `dev` and `tracing` included, and
    what it asks of these under a name of theirs (`redis[hiredis]`)."""
    extras = PROJECT["optional-dependencies"]
    asked = map(Requirement, PROJECT["dependencies"] + extras["dev"] + extras["tracing"])
    return {canonicalize_name(name) for each in asked for name in (each.name, *each.extras)}


def test_all_that_is_imported_is_asked_for_by_name() -> None:
    files = [file for name in OURS for file in (ROOT / name).rglob("*.py")]
    assert len(files) > 100
    foreign = set().union(*map(imported, files)) - OURS - sys.stdlib_module_names
    # what the programs of the sandbox import of the files beside them
    foreign -= {file.stem for file in (ROOT / "worker" / "sandbox").glob("*.py")}
    brought_by = packages_distributions()
    lacking = {
        name
        for name in foreign
        if not {canonicalize_name(each) for each in brought_by.get(name, [name])} & asked_for()
    }
    assert not lacking, "imported, and only there because something else brings it"


def test_an_index_hears_of_the_pythons_that_are_allowed() -> None:
    named = [
        each.rpartition(" ")[2]
        for each in PROJECT["classifiers"]
        if each.startswith("Programming Language :: Python :: 3.")
    ]
    assert PROJECT["requires-python"] == f">={named[0]}"
    assert named == [f"3.{minor}" for minor in range(11, 11 + len(named))]


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_elsewhere_than_on_linux_it_says_so(
    platform: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "Operating System :: POSIX :: Linux" in PROJECT["classifiers"]
    monkeypatch.setattr(sys, "platform", platform)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"baton: this is {platform}, and Baton runs on Linux\n"
