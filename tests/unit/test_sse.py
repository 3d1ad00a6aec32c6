"""How logs are put into events: any bytes, cut anywhere."""

import base64
import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, strategies as st

from app.api import sse
from app.builds.streams import LogPiece, StreamSignal
from tests.support.event_stream import Event, parsed


def told(pieces: list[bytes], *, version: int = 7) -> list[Event]:
    """The events for a log that comes in these pieces."""
    text = sse.LogText(0)
    sent, offset = b"", 0
    for data in pieces:
        sent += text.of(LogPiece(offset, data), version)
        offset += len(data)
    sent += text.rest(version) + sse.signal_event(StreamSignal.COMPLETE)
    assert text.offset == offset
    events = [each for each in parsed(iter(sent.decode().split("\n"))) if isinstance(each, Event)]
    assert events.pop().event == "end"
    return events


@given(st.lists(st.binary(min_size=1, max_size=12) | st.text(min_size=1).map(str.encode)))
def test_every_byte_arrives_once_in_order(pieces: list[bytes]) -> None:
    events = told(pieces)
    assert b"".join(event.bytes for event in events) == b"".join(pieces)
    for event in events:
        assert event.data["end"] - event.data["offset"] == len(event.bytes) > 0
        assert event.id == f"7-{event.data['end']}"
    assert all(one.data["end"] == two.data["offset"] for one, two in pairwise(events))


@given(st.text(min_size=1, max_size=20), st.integers(1, 6))
def test_text_stays_text_wherever_it_is_cut(text: str, size: int) -> None:
    data = text.encode()
    events = told([data[at : at + size] for at in range(0, len(data), size)])
    assert "".join(event.data["text"] for event in events) == text


def test_a_character_waits_for_its_last_byte_and_a_new_reader_gets_all_of_it() -> None:
    snowman = "☃".encode()
    text = sse.LogText(0)
    first = text.of(LogPiece(0, b"a" + snowman[:1]), 1)
    assert first.startswith(b"id: 1-1\n")
    assert text.of(LogPiece(2, snowman[1:2]), 1) == b""
    assert text.offset == 1  # what a change of the build says in its id meanwhile
    assert text.of(LogPiece(3, snowman[2:] + b"b"), 1).startswith(b"id: 1-5\n")


@pytest.mark.parametrize(
    "data", [b"\xff", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf5\x80\x80\x80", b"\x80"]
)
def test_what_is_no_text_goes_as_base64(data: bytes) -> None:
    [event] = told([data])
    assert event.data == {
        "offset": 0, "end": len(data), "base64": base64.b64encode(data).decode()
    }  # fmt: skip


@pytest.mark.parametrize(
    "text", ["\r", "\n", "\r\n\n", "data: x\n\nevent: end\n\n", "\u2028\u0085"]
)
def test_no_log_ends_a_line_of_the_stream(text: str) -> None:
    frame: Any = sse.LogText(0).of(LogPiece(0, text.encode()), 1)
    _, _, data, *rest = frame.decode().split("\n")
    assert rest == ["", ""] and "\r" not in data
    assert json.loads(data.removeprefix("data: "))["text"] == text


def test_quiet_is_a_comment_and_each_last_word_an_event() -> None:
    comment = sse.signal_event(StreamSignal.QUIET).decode()
    assert list(parsed(iter(comment.split("\n")))) == ["heartbeat"]
    for sign, name in (
        (StreamSignal.COMPLETE, "end"),
        (StreamSignal.DELETED, "end"),
        (StreamSignal.EXPIRED, "expired"),
    ):
        [event] = parsed(iter(sse.signal_event(sign).decode().split("\n")))
        assert isinstance(event, Event)
        assert event.event == name
