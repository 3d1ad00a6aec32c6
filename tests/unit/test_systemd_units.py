"""The systemd units of docs/deploy: systemd understands them, and they fit Baton's settings."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from app.cli import baton
from app.config.settings import Settings
from tests.support.needs import needs
from tests.support.settings_table import READERS
from worker.settings import WorkerSettings

FOLDER = Path(__file__).parents[2] / "docs" / "deploy" / "systemd"
SECRETS = "/etc/baton/secrets/"

#: The highest score of `systemd-analyze security`, in tenths: lower is tighter. A worker makes
#: namespaces, and mounts in them.
EXPOSURE = {"api": 15, "worker": 35}


def unit(part: str) -> str:
    return (FOLDER / f"baton-{part}.service").read_text()


def values(part: str, key: str) -> list[str]:
    return re.findall(rf"^{key}=(.*)$", unit(part), re.MULTILINE)


def variables(part: str) -> dict[str, str]:
    """What `part` is started with, but for its credentials."""
    assigned = [*values(part, "Environment"), *(FOLDER / f"{part}.env").read_text().splitlines()]
    return dict(re.findall(r"^(BATON_[A-Z_]+)=(.*)$", "\n".join(assigned), re.MULTILINE))


@pytest.fixture
def installed(tmp_path: Path) -> list[str]:
    """The units, as if Baton were where they start it."""
    found = []
    for part in EXPOSURE:
        copy = tmp_path / f"baton-{part}.service"
        copy.write_text(unit(part).replace("/opt/baton/bin/baton", sys.executable))
        found.append(str(copy))
    return found


def test_systemd_understands_every_line(installed: list[str]) -> None:
    verify = [needs("systemd-analyze"), "verify", "--man=no", *installed]
    result = subprocess.run(verify, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout + result.stderr) == (0, "")


@pytest.mark.parametrize("part", EXPOSURE)
def test_a_service_is_exposed_as_little_as_it_was_when_it_was_last_looked_at(part: str) -> None:
    path = str(FOLDER / f"baton-{part}.service")
    analyze = [needs("systemd-analyze"), "security", "--no-pager", "--offline=yes"]
    threshold = f"--threshold={EXPOSURE[part]}"
    result = subprocess.run(
        [*analyze, threshold, path], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("part", EXPOSURE)
def test_every_variable_is_a_setting_of_its_part(part: str) -> None:
    known = {f"BATON_{name.upper()}" for name in READERS[part].model_fields}
    assert {name.removesuffix("_FILE") for name in variables(part)} <= known


@pytest.mark.parametrize("part", EXPOSURE)
def test_its_settings_and_the_secrets_that_are_made_start_it(part: str, tmp_path: Path) -> None:
    CliRunner().invoke(baton, ["secrets", str(tmp_path)], catch_exceptions=False)
    credentials = dict(each.split(":", 1) for each in values(part, "LoadCredential"))
    environment = variables(part)
    for name, path in credentials.items():
        assert path.startswith(SECRETS)
        made = tmp_path / path.removeprefix(SECRETS)
        [variable] = [key for key, value in environment.items() if value == f"%d/{name}"]
        environment[variable] = str(made)
    READERS[part].from_env(environment)


def test_a_worker_is_handed_none_of_the_apis_secrets() -> None:
    assert values("worker", "LoadCredential")
    assert f"{SECRETS}server" not in unit("worker")
    assert f"{SECRETS}worker" not in unit("api")


def test_the_users_are_made() -> None:
    made = re.findall(r"^u (\S+)", (FOLDER / "sysusers.conf").read_text(), re.MULTILINE)
    assert [[user] for user in made] == [values(part, "User") for part in EXPOSURE]


def test_a_worker_has_the_time_to_let_builds_end_and_to_hand_them_back() -> None:
    # Only the worker hears of it: the builds are to go on for a while.
    assert values("worker", "KillMode") == ["mixed"]
    [timeout] = map(float, values("worker", "TimeoutStopSec"))
    grace = WorkerSettings.model_fields["shutdown_grace"].default
    kill_grace = Settings.model_fields["kill_grace"].default
    assert "BATON_SHUTDOWN_GRACE" not in variables("worker")
    assert timeout >= grace + kill_grace + 30
