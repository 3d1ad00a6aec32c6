"""Schemathesis on /openapi.json, with every check that it has: the document says what happens."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.scene import QUIET, Scene
from tests.support.providers.authority import Authority
from tests.support.stack import Stack

pytestmark = pytest.mark.slow

HOOKS = Path(__file__).with_name("openapi_hooks.py")

#: Beside 2xx: what a good request may hear because of the build that it is about.
STATES = '["2xx", "401", "403", "404", "409", "410", "412", "416"]'

CONFIG = """
seed = 1
color = false
hooks = "{hooks}"
continue-on-failure = true
request-timeout = 20
suppress-health-check = ["all"]

[warnings]
enabled = false

[auth.openapi.user]
bearer = "{user}"

[auth.openapi.build]
bearer = "{build}"

[generation]
max-examples = {examples}
database = "none"

[checks]
positive_data_acceptance.expected-statuses = {states}

[parameters]
"path.build_id" = "{build_id}"
"header.Baton-Lease" = "{lease}"

# Following a log ends with the build: this one has ended.
[[operations]]
include-path = "/builds/{{build_id}}/log"
include-method = "GET"
parameters = {{ "path.build_id" = "{ended}" }}

# Else each of them is held for as long as it says.
[[operations]]
include-path = "/builds/{{build_id}}/heartbeat"
parameters = {{ "header.Prefer" = "wait=0" }}

# No schema can say that a Content-Range must fit its body.
[[operations]]
include-path = "/builds/{{build_id}}/log"
include-method = "PATCH"
checks.positive_data_acceptance.expected-statuses = ["2xx", "400", "401", "403", "409", "416"]
"""


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with Authority() as authority:
        authority.mint_lifetime = 14 * 86400
        stack = Stack(
            tmp_path_factory.mktemp("stack"),
            BATON_ISSUER=authority.issuer,
            BATON_MAX_BUILD_TIMEOUT="604800",  # what the schema says
            **QUIET,
        ).without_issuer()
        with stack:
            scene = Scene(stack, authority)
            with scene.http:
                yield scene


@pytest.mark.timeout(300)
def test_whatever_is_sent_the_document_has_said_what_comes_back(
    scene: Scene, tmp_path: Path
) -> None:
    build_id, token, lease = scene.running()
    ended = scene.submit()
    scene.call("POST", f"/builds/{ended}/cancel", scene.user())
    config = tmp_path / "schemathesis.toml"
    config.write_text(
        CONFIG.format(
            hooks=HOOKS, user=scene.user(), build=token, build_id=build_id, lease=lease,
            ended=ended, states=STATES, examples=20,
        )
    )  # fmt: skip
    run = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "run"),
            *("--checks", "all", "--exclude-path-regex", "/events$"),  # streams without an end
            f"{scene.stack.api_url}/openapi.json",
        ],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert run.returncode == 0, (run.stdout + run.stderr)[-20000:]
    assert "No issues found" in run.stdout
