"""Following a build on a terminal, where people are."""

import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.stack import Stack
from tests.support.terminal.commands import Terminal, baton, listed, piped, status
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("cli")) as stack:
        stack.worker()
        yield stack


def test_a_terminal_gets_colours_and_status_but_nothing_that_it_would_obey(stack: Stack) -> None:
    script = r"printf '\033]0;evil\007\033[31mred\033[0m\033[2J\n'; sleep 1.5; printf part"

    with Terminal(stack, "submit", "--follow", "--run", script) as terminal:
        assert terminal.wait() == 0

    assert "\x1b[31mred" in terminal.screen
    assert "\x1b]0;" not in terminal.screen
    assert "\x1b[2J" not in terminal.screen
    assert "● running" in terminal.screen
    assert "✓ succeeded" in terminal.screen
    assert "part\r\n" in terminal.screen


def test_no_color_is_heeded(stack: Stack) -> None:
    script = r"printf '\033[31mred\033[0m\n'"

    with Terminal(stack, "submit", "--follow", "--run", script, NO_COLOR="1") as terminal:
        assert terminal.wait() == 0

    assert "\x1b[31m" not in terminal.screen


def test_ctrl_c_on_a_terminal_can_cancel(stack: Stack) -> None:
    with Terminal(stack, "submit", "--follow", "--run", "echo begun; sleep 120") as terminal:
        terminal.wait_for_line("begun")
        terminal.interrupt()
        terminal.wait_for("Cancel the build, or detach")
        terminal.type("cancel\n")

        assert terminal.wait() == 1

    assert "⊘ cancelled" in terminal.screen


def test_a_second_ctrl_c_detaches(stack: Stack) -> None:
    with Terminal(stack, "submit", "--follow", "--run", "echo begun; sleep 120") as terminal:
        terminal.wait_for_line("begun")
        terminal.interrupt()
        terminal.wait_for("Cancel the build, or detach")
        terminal.interrupt()

        assert terminal.wait() == 130

    found = re.search(r"logs --follow --offset \d+ (bld_\w+)", terminal.screen)
    assert found
    assert status(stack, found[1]) == "running"
    baton(stack, "cancel", found[1])


def test_each_step_is_shown_with_its_sign_and_time(stack: Stack, tmp_path: Path) -> None:
    steps = [
        {"name": "first", "run": "sleep 1.2"},
        {"name": "second", "run": "echo here; sleep 2.5; exit 3"},
        {"name": "third", "run": "true"},
    ]
    spec = tmp_path / "build.json"
    spec.write_text(json.dumps({"steps": steps}))

    with Terminal(stack, "submit", str(spec), "--follow", NO_COLOR="1") as terminal:
        assert terminal.wait() == 1

    assert re.search(r"✓ first \d\.\d s   ● second \d\.\d s   · third", terminal.plain)
    first, second, outcome = terminal.lines[-3:]
    assert re.fullmatch(r"  ✓ first \d\.\d s", first)
    assert re.fullmatch(r"  ✗ second \d\.\d s  exit 3", second)
    assert outcome.startswith("✗ failed bld_")


def test_what_a_build_waits_for_is_said(tmp_path: Path) -> None:
    with Stack(tmp_path) as stack:
        stack.token()
        with Terminal(stack, "submit", "--follow", "--run", "echo at last") as terminal:
            terminal.wait_for("No worker has been seen here yet")
            stack.worker()
            assert terminal.wait() == 0
    assert "at last" in terminal.lines


def ticks(terminal: Terminal) -> list[int]:
    terminal.read()
    return [int(line[5:-1]) for line in terminal.lines if re.fullmatch(r"tick \d+\.", line)]


def test_a_follower_comes_back_when_the_api_was_killed(tmp_path: Path) -> None:
    """On a terminal and in a pipe: every line once."""
    script = "i=0; while :; do i=$((i + 1)); echo tick $i.; sleep 0.1; done"
    with Stack(tmp_path, BATON_LEASE="60") as stack:
        stack.worker()
        with Terminal(stack, "submit", "--follow", "--run", script) as terminal:
            terminal.wait_for_line("tick 5.")
            [build] = listed(stack)
            with piped(stack, "logs", "--follow", build["id"]) as pipe:
                assert pipe.stdout
                first = pipe.stdout.readline()
                stack.api.stop(signal.SIGKILL)
                seen = ticks(terminal)[-1]
                stack.start_api()
                wait_until("it goes on", lambda: ticks(terminal)[-1] > seen + 20, seconds=60)
                baton(stack, "cancel", build["id"])
                assert terminal.wait() == 1
                rest, said = pipe.communicate(timeout=60)
                assert pipe.returncode == 1, said
        with stack.http() as http:
            assert first + rest == http.get(f"/builds/{build['id']}/log").content
    found = ticks(terminal)
    assert found == list(range(1, found[-1] + 1))
