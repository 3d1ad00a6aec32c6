"""What a build prints, made harmless for a terminal."""

import re

import pytest
from hypothesis import given, strategies as st

from app.cli.display.terminal_sanitizer import SanitizedLines, sanitized

SGR = re.compile(r"\x1b\[[0-9;:]*m")


@pytest.mark.parametrize(
    ("printed", "shown"),
    [
        ("\x1b[1;31mred\x1b[0m", "\x1b[1;31mred\x1b[0m"),
        ("\x1b]0;a title\x07text", "text"),
        ("\x1b]8;;https://x.example\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]52;c;aGVsbG8=\x07paste", "paste"),
        ("\x1bP$q\x1b\\text", "text"),
        ("up\x1b[2A\x1b[2Kand over", "upand over"),
        ("\x1b[6nwhere", "where"),
        ("\x1bcreset", "reset"),
        ("\x1b]0;no end", "␛]0;no end"),
        ("a\bb\x07", "a␈b␇"),
        ("\x9b31mC1", "\N{REPLACEMENT CHARACTER}31mC1"),
        ("\N{RIGHT-TO-LEFT OVERRIDE}txt", "\N{REPLACEMENT CHARACTER}txt"),
        ("tab\tstays, and ünïcödé", "tab\tstays, and ünïcödé"),
    ],
)
def test_only_colours_pass(printed: str, shown: str) -> None:
    assert sanitized(printed) == shown


@given(st.text(alphabet=st.sampled_from("\x1b[]P;?0123m\x07\\HKc\x9b\x00\r\b ab")))
def test_nothing_that_a_terminal_obeys_is_left_of_any_text(printed: str) -> None:
    rest = SGR.sub("", sanitized(printed))

    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", rest)


@given(
    st.binary()
    | st.lists(st.sampled_from([b"\r", b"\n", b"\x1b[1G", b"a", b"\xe8"])).map(b"".join),
    st.integers(1, 7),
)
def test_pieces_of_any_size_make_the_same_lines(data: bytes, size: int) -> None:
    whole, pieces = SanitizedLines(), SanitizedLines()

    at_once = whole.feed(data) + whole.close()
    in_pieces = [
        line for at in range(0, len(data), size) for line in pieces.feed(data[at : at + size])
    ] + pieces.close()

    assert in_pieces == at_once


def test_a_progress_bar_shows_its_last_state() -> None:
    lines = SanitizedLines()

    assert lines.feed(b" 10%\r 50%\r100%\r\nnext") == ["100%"]
    assert lines.rest == "next"
    assert lines.close() == ["next"]


@pytest.mark.parametrize("start", [b"\x1b[1G", b"\x1b[G", b"\x1b[0G", b"\x1b[2K\r"])
def test_the_first_column_is_reached_in_several_ways(start: bytes) -> None:
    lines = SanitizedLines()

    assert lines.feed(b" 10%" + start + b" 50%" + start + b"100%\n") == ["100%"]


def test_a_progress_bar_that_never_ends_is_never_cut() -> None:
    lines = SanitizedLines()
    states = [b"%7d of many [==========]\r" % n for n in range(20_000)]

    assert [line for state in states for line in lines.feed(state)] == []
    assert lines.rest == "  19999 of many [==========]"
    assert lines.feed(b"done\n") == ["done"]


def test_a_line_without_end_does_not_fill_the_memory() -> None:
    lines = SanitizedLines()

    found = [line for _ in range(100) for line in lines.feed(b"x" * 10_000)]

    assert sum(map(len, found)) > 900_000
