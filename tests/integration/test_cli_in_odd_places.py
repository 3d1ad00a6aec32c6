"""Terminals and pipes that are not as usual: dumb, narrow, without a keyboard, too slow."""

import fcntl
import os
import re
import signal
import sys
import termios
from collections.abc import Iterator
from typing import IO

import pytest

from tests.support.stack import Stack
from tests.support.terminal.commands import Terminal, baton, piped, run, settings, status, submit
from tests.support.waiting import wait_until

#: What a terminal would obey: a title, a cleared screen; and a colour.
HOSTILE = r"printf '\033]0;evil\007\033[31mred\033[0m\033[2J\n'"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("cli")) as stack:
        stack.worker()
        yield stack


def is_harmless(screen: str) -> bool:
    return "\x1b]0;" not in screen and "\x1b[2J" not in screen and "red" in screen


def test_a_terminal_without_keyboard_is_a_terminal_nonetheless(stack: Stack) -> None:
    with Terminal(stack, "submit", "-f", "--run", HOSTILE, keyboard=False) as terminal:
        assert terminal.wait() == 0

    assert is_harmless(terminal.screen)
    assert "\x1b[31mred" in terminal.screen
    assert "✓ succeeded" in terminal.screen


def test_without_keyboard_ctrl_c_detaches_at_once(stack: Stack) -> None:
    script = "echo begun; sleep 120"
    with Terminal(stack, "submit", "-f", "--run", script, keyboard=False) as terminal:
        terminal.wait_for_line("begun")
        terminal.interrupt()

        assert terminal.wait() == 130

    assert "Cancel the build" not in terminal.screen
    found = re.search(r"logs --follow --offset \d+ (bld_\w+)", terminal.screen)
    assert found
    assert status(stack, found[1]) == "running"
    baton(stack, "cancel", found[1])


def test_a_dumb_terminal_gets_lines_that_it_need_not_understand(stack: Stack) -> None:
    with Terminal(stack, "submit", "-f", "--run", HOSTILE, TERM="dumb") as terminal:
        assert terminal.wait() == 0

    assert is_harmless(terminal.screen)
    assert "\x1b" not in terminal.screen
    assert "succeeded after" in terminal.screen


def test_a_terminal_that_lacks_characters_gets_the_others(stack: Stack) -> None:
    script = "echo '試 and more'"
    with Terminal(stack, "submit", "-f", "--run", script, PYTHONIOENCODING="latin-1") as terminal:
        assert terminal.wait() == 0

    assert "? and more" in terminal.lines


def test_detaching_is_an_answer_to_ctrl_c(stack: Stack) -> None:
    script = "echo begun; printf unfinished; sleep 120"
    with Terminal(stack, "submit", "-f", "--run", script) as terminal:
        terminal.wait_for("\nunfinished")
        terminal.interrupt()
        terminal.wait_for("Cancel the build, or detach")
        terminal.type("detach\n")

        assert terminal.wait() == 130

    assert "unfinished" in terminal.lines  # the offset is behind it
    found = re.search(r"logs --follow --offset \d+ (bld_\w+)", terminal.screen)
    assert found
    assert status(stack, found[1]) == "running"
    baton(stack, "cancel", found[1])


def test_a_flood_is_shown_whole_and_in_order(stack: Stack) -> None:
    script = r"seq 100000 | sed 's/.*/\x1b[32mline &.\x1b[0m/'"
    with Terminal(stack, "submit", "-f", "--run", script) as terminal:
        assert terminal.wait() == 0

    shown = [int(n) for n in re.findall(r"\[32mline (\d+)\.", terminal.screen)]
    assert shown == list(range(1, 100_001))


def test_a_line_of_a_megabyte_is_shown_whole(stack: Stack) -> None:
    script = "head -c 1000000 /dev/zero | tr '\\0' X; echo; echo after"
    with Terminal(stack, "submit", "-f", "--run", script) as terminal:
        assert terminal.wait() == 0

    assert "after" in terminal.lines
    assert sum(len(line) for line in terminal.lines if set(line) == {"X"}) == 1_000_000


@pytest.mark.parametrize("columns", [40, 100])
def test_a_list_keeps_its_ids_whole(stack: Stack, columns: int) -> None:
    build_id = submit(stack, f"true {'and so on ' * 20}")

    with Terminal(stack, "list", "-n", "3", COLUMNS=str(columns)) as terminal:
        assert terminal.wait() == 0

    [row] = [line for line in terminal.lines if build_id in line]
    assert len(row) <= columns


def test_colours_that_are_asked_for_everywhere_stay_out_of_pipes(stack: Stack) -> None:
    build_id = submit(stack, HOSTILE)
    raw = baton(stack, "logs", "-f", build_id).stdout

    def forced(*arguments: str) -> bytes:
        return run({**settings(stack), "FORCE_COLOR": "1"}, *arguments).stdout

    assert b"\x1b]0;evil\x07" in raw
    assert forced("logs", "-f", build_id) == raw
    assert forced("list", "-n", "1").count(b"\t") == 4
    assert b"\x1b" not in forced("list", "-n", "1")


def test_who_detaches_from_a_pipe_that_is_full_is_told_the_byte_that_it_took(stack: Stack) -> None:
    build_id = submit(stack, "seq 100000")
    whole = baton(stack, "logs", "-f", build_id).stdout
    with piped(stack, "logs", "-f", build_id) as follower:
        assert follower.stdout and follower.stderr
        first = os.read(follower.stdout.fileno(), 10)
        pipe = follower.stdout
        wait_until("the pipe is full", lambda: waiting_in(pipe) > 60_000, seconds=60)
        follower.send_signal(signal.SIGINT)
        taken, said = follower.communicate(timeout=60)

    assert follower.returncode == 130
    found = re.search(rb"--offset (\d+)", said)
    assert found
    assert first + taken == whole[: int(found[1])]
    assert len(first + taken) < len(whole)
    assert (
        baton(stack, "logs", "--offset", found[1].decode(), build_id).stdout
        == whole[int(found[1]) :]
    )


def waiting_in(pipe: IO[bytes]) -> int:
    """Bytes that were written and not read yet."""
    size = fcntl.ioctl(pipe.fileno(), termios.FIONREAD, bytes(4))
    return int.from_bytes(size, sys.byteorder)
