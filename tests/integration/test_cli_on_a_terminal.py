"""Following a build on a terminal, where people are."""

import re
from collections.abc import Iterator

import pytest

from tests.commands import Terminal, baton, status
from tests.stack import Stack


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
        terminal.wait_for("\nbegun\r\n")
        terminal.interrupt()
        terminal.wait_for("Cancel the build, or detach")
        terminal.type("cancel\n")

        assert terminal.wait() == 1

    assert "⊘ cancelled" in terminal.screen


def test_a_second_ctrl_c_detaches(stack: Stack) -> None:
    with Terminal(stack, "submit", "--follow", "--run", "echo begun; sleep 120") as terminal:
        terminal.wait_for("\nbegun\r\n")
        terminal.interrupt()
        terminal.wait_for("Cancel the build, or detach")
        terminal.interrupt()

        assert terminal.wait() == 130

    found = re.search(r"logs --follow --offset \d+ (bld_\w+)", terminal.screen)
    assert found
    assert status(stack, found[1]) == "running"
    baton(stack, "cancel", found[1])
