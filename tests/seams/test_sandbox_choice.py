"""Which sandbox is chosen, and what is said when none can be had."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.needs import needs
from tests.support.worker.sandboxed import LIMITS, place
from worker.errors import SandboxFailed
from worker.sandbox.choice import Name, choose


@pytest.fixture
def workspaces() -> Iterator[Path]:
    with place() as folder:
        yield folder


def test_auto_is_bubblewrap_where_it_works(workspaces: Path) -> None:
    needs("bwrap")
    sandbox = choose("auto", development=False, network=False, limits=LIMITS, workspaces=workspaces)
    assert sandbox.name == "bubblewrap"
    assert list(workspaces.iterdir()) == []


@pytest.mark.parametrize("name", ["auto", "bubblewrap"])
def test_without_bwrap_the_refusal_says_what_to_install(
    name: Name, workspaces: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(workspaces))
    with pytest.raises(SandboxFailed, match="bwrap is not installed"):
        choose(name, development=False, network=True, limits=LIMITS, workspaces=workspaces)


def test_without_bwrap_development_goes_on_with_a_warning(
    workspaces: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PATH", str(workspaces))
    with caplog.at_level(logging.WARNING):
        sandbox = choose(
            "auto", development=True, network=False, limits=LIMITS, workspaces=workspaces
        )
    assert sandbox.name == "process"
    assert "not walled off" in caplog.text
    assert "cannot keep builds off the network" in caplog.text


def test_bwrap_that_is_there_and_does_not_work_is_found_out(
    workspaces: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container that forbids namespaces: only a trial shows it."""
    program = workspaces.parent / "bwrap"
    program.write_text("#!/bin/sh\necho bwrap: No permissions to create new namespace\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{workspaces.parent}:{os.environ['PATH']}")
    with pytest.raises(SandboxFailed, match=r"No permissions to create.*BATON_SANDBOX=process"):
        choose("auto", development=False, network=True, limits=LIMITS, workspaces=workspaces)
    assert list(workspaces.iterdir()) == []
