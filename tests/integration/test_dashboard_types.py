"""The dashboard's types: its own comments, held against its code and against the API's models.

The dashboard has no build step; TypeScript reads its JSDoc comments as they are. Needs Node, npm
and once a registry: see `tests/support/npm.py`.
"""

import re
import subprocess
from pathlib import Path

import pytest
from pydantic import BaseModel

from app.contract.builds import AttemptView, BuildPage, BuildView, LogView, QueueView, TokenFacts
from app.contract.runs import StepReport
from app.contract.spec import BuildSpec, Source, Step
from app.contract.status import Status, StepStatus
from tests.support.npm import node, packages

CONFIG = Path(__file__).parents[1] / "dashboard_types" / "tsconfig.json"
SCRIPTS = Path(__file__).parents[2] / "app" / "dashboard" / "js"
_OTHERWISE = "the dashboard's types were NOT checked"


def compiler(*arguments: str) -> subprocess.CompletedProcess[str]:
    tsc = packages(CONFIG.parent, _OTHERWISE) / "node_modules" / "typescript" / "bin" / "tsc"
    return subprocess.run(
        [node(_OTHERWISE), str(tsc), *arguments], capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_the_dashboard_is_what_its_comments_say() -> None:
    done = compiler("--project", str(CONFIG))
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_the_check_sees_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "wrong.js").write_text(
        f'/** @param {{import("{SCRIPTS}/build.js").Build}} build */\n'
        "export function wrong(build) {\n  return build.stats;\n}\n"
    )
    (tmp_path / "tsconfig.json").write_text(
        f'{{"extends": "{CONFIG}", "include": ["{tmp_path}/wrong.js"]}}'
    )
    done = compiler("--project", str(tmp_path / "tsconfig.json"))
    assert "Property 'stats' does not exist on type 'Build'" in done.stdout


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("Build", BuildView),
        ("Attempt", AttemptView),
        ("StepReport", StepReport),
        ("TokenFacts", TokenFacts),
        ("Queue", QueueView),
        ("Spec", BuildSpec),
        ("SpecStep", Step),
        ("Source", Source),
    ],
)
def test_its_types_are_the_apis(name: str, model: type[BaseModel]) -> None:
    text = (SCRIPTS / "build.js").read_text()
    found = re.search(rf"@typedef {{object}} {name}\b.*?\*/", text, re.DOTALL)
    assert found, name
    members = re.findall(r"@property {.*} (\w+)", found[0])
    assert sorted(members) == sorted(model.model_fields)


def test_its_smaller_types_are_the_apis_too() -> None:
    text = (SCRIPTS / "build.js").read_text()
    for name, words in (("Status", Status), ("StepStatus", StepStatus)):
        found = re.search(rf"@typedef {{([^}}]*)}} {name} \*/", text)
        assert found and re.findall(r'"(\w+)"', found[1]) == list(words)
    assert set(LogView.model_fields) == {"length", "sha256"}
    assert set(BuildPage.model_fields) == {"builds", "next"}
