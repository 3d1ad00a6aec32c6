"""A log's colours, carried from piece to piece."""

import io

import pytest
from rich.console import Console

from app.cli.display.log_printer import LogPrinter


def a_printer(written: list[str], *, no_color: bool = False) -> LogPrinter:
    console = Console(
        file=io.StringIO(), force_terminal=True, color_system="256", no_color=no_color
    )
    return LogPrinter(console, written.append)


def printed(*pieces: bytes, no_color: bool = False) -> list[str]:
    """What is written for each piece that completes a line."""
    written: list[str] = []
    printer = a_printer(written, no_color=no_color)
    for piece in pieces:
        printer.feed(piece)
    printer.close()
    assert printer.taken == sum(map(len, pieces))
    return written


def test_a_colour_goes_on_in_the_next_piece_and_is_off_in_between() -> None:
    assert printed(b"\x1b[1;31mred\n", b"still\n", b"to here\x1b[0m\nplain\n", b"plain\n") == [
        "\x1b[1;31mred\n\x1b[0m",
        "\x1b[1;31mstill\n\x1b[0m",
        "\x1b[1;31mto here\x1b[0m\nplain\n\x1b[0m",
        "plain\n",
    ]


@pytest.mark.parametrize("unknown", [b"\x1b[4:3m", b"\x1b[53m", b"\x1b[999m"])
def test_no_style_is_left_on_even_if_it_is_not_known(unknown: bytes) -> None:
    [text] = printed(unknown + b"odd\n")

    assert text.endswith("odd\n\x1b[0m")


def test_only_what_comes_after_the_last_reset_goes_on() -> None:
    first, second = printed(b"\x1b[31ma\x1b[m\x1b[32mb\n", b"c\n")

    assert first == "\x1b[31ma\x1b[m\x1b[32mb\n\x1b[0m"
    assert second == "\x1b[32mc\n\x1b[0m"


def test_without_colours_the_text_stays() -> None:
    assert printed(b"\x1b[31mred\x1b[0m\n", b"\x1b[1mbold\n", no_color=True) == ["red\n", "bold\n"]


@pytest.mark.parametrize("before", range(4085, 4100))
def test_no_sequence_is_cut_in_the_line_that_is_not_over(before: int) -> None:
    printer = a_printer([])

    printer.feed(b"x" * before + b"\x1b[38;5;200m" * 3 + b"end")

    assert "\x1b" not in printer.rest.plain
    assert printer.rest.plain.startswith("xxx")
