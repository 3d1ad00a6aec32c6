"""Reading server-sent events as a client does (HTML §9.2.6), over a real connection."""

import base64
import json
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any

import httpx


@dataclass(frozen=True, slots=True)
class Event:
    id: str
    event: str
    data: Any

    @property
    def bytes(self) -> bytes:
        """The bytes of a `log` event."""
        if "text" in self.data:
            return str(self.data["text"]).encode()
        return base64.b64decode(self.data["base64"])


def parsed(lines: Iterator[str]) -> Iterator[Event | str]:
    """Events, and comments as text."""
    last, event, data = "", "", ""
    for line in lines:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if line == "":
            if data:
                yield Event(last, event or "message", json.loads(data))
            event, data = "", ""
        elif name == "":
            yield value
        elif name == "id":
            last = value
        elif name == "event":
            event = value
        elif name == "data":
            data += value


def events(
    http: httpx.Client,
    path: str,
    last: str | None = None,
    *,
    opened: Callable[[], None] = lambda: None,
    **params: str,
) -> Generator[Event, None, None]:
    """The events of one stream, until it ends; `opened` is called when the answer has begun."""
    headers = {"Last-Event-ID": last} if last is not None else {}
    with http.stream("GET", path, headers=headers, params=params) as answer:
        if answer.status_code != httpx.codes.OK:
            answer.read()
        assert answer.status_code == httpx.codes.OK, answer.text
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        opened()
        for each in parsed(answer.iter_lines()):
            if isinstance(each, Event):
                yield each
