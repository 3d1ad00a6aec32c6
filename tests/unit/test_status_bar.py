"""Lines that stay at the bottom of a terminal."""

import io

import pytest
from rich.console import Console
from rich.text import Text

from app.cli.display.status_bar import StatusBar
from tests.support.terminal.reflowing_screen import ReflowingScreen
from tests.support.waiting import wait_until


class Window(io.StringIO):
    """A terminal's window, which can be pulled to another width."""

    def __init__(self, width: int, height: int = 24) -> None:
        super().__init__()
        self.screen = ReflowingScreen(width)
        self.console = Console(
            file=self, force_terminal=True, width=width, height=height, color_system=None
        )

    def write(self, output: str) -> int:
        self.screen.feed(output)
        return len(output)

    def pull(self, width: int) -> None:
        self.screen.width = width
        self.console.width = width


def test_text_scrolls_by_above_the_rows_and_nothing_is_left_of_them() -> None:
    window = Window(40)

    with StatusBar(window.console, lambda: [Text("steps"), Text("status")]) as status_bar:
        status_bar.print("one\n")
        status_bar.print("two\nthree\n")
        assert window.screen.lines == ["one", "two", "three", "steps", "status"]
        assert not window.screen.cursor_shown

    assert window.screen.lines == ["one", "two", "three", ""]
    assert window.screen.cursor_shown


@pytest.mark.parametrize("width", [60, 41, 35, 20, 7, 130])
def test_a_window_that_is_pulled_to_another_width_keeps_no_old_rows(width: int) -> None:
    window = Window(100)
    rows = ["s" * 95, "t" * 40]

    with StatusBar(window.console, lambda: [Text(row) for row in rows]) as status_bar:
        status_bar.print("a line of the log\n")
        window.pull(width)
        status_bar.print("and one more\n")
        status_bar.print("")

        log, shown = window.screen.lines[:2], window.screen.lines[2:]

    assert log == ["a line of the log", "and one more"]
    assert [row[0] for row in shown] == ["s", "t"]
    assert all(len(row) < width for row in shown)


def test_the_rows_that_a_low_window_has_no_room_for_are_the_first() -> None:
    window = Window(40, height=3)

    with StatusBar(window.console, lambda: [Text(row) for row in "abcd"]) as status_bar:
        status_bar.print("log\n")
        assert window.screen.lines == ["log", "c", "d"]


def test_rows_change_by_themselves() -> None:
    window = Window(40)
    rows = ["first"]

    with StatusBar(window.console, lambda: [Text(row) for row in rows]) as status_bar:
        status_bar.print("log\n")
        rows[:] = ["second", "third"]
        wait_until("they are shown", lambda: window.screen.lines == ["log", "second", "third"])


def test_it_can_be_left_and_entered_again() -> None:
    window = Window(40)
    status_bar = StatusBar(window.console, lambda: [Text("status")])

    with status_bar:
        status_bar.print("one\n")
    status_bar.print("between\n")
    with status_bar:
        status_bar.print("two\n")
        assert window.screen.lines == ["one", "between", "two", "status"]
