"""Server-sent events are written here (HTML §9.2.6), each once for all followers of a stream."""

import base64
import codecs
import json
import random
from functools import lru_cache
from typing import Any, Final

from app.builds.streams import Change, LogPiece, Position, StreamSignal

_Utf8: Final = codecs.getincrementaldecoder("utf-8")

MEDIA_TYPE: Final = "text/event-stream"
#: Headers of a streamed response: a proxy that buffers or compresses it would hold events back.
UNBUFFERED: Final = {"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no"}

#: Milliseconds after which a client reconnects, chosen at random between these, so that not all
#: clients come at once to an API that has just started.
_RETRY_MS: Final = (500, 3000)

_SIGNALS: Final = {
    StreamSignal.QUIET: b": heartbeat\n\n",
    StreamSignal.COMPLETE: b"event: end\ndata: {}\n\n",
    StreamSignal.DELETED: b'event: end\ndata: {"reason": "deleted"}\n\n',
    StreamSignal.EXPIRED: b"event: expired\ndata: "
    b'{"detail": "the access token has expired: open the stream again with a new one"}\n\n',
}


def opening(event_id: str) -> bytes:
    """Return the first bytes of a stream: the reconnection time, and an id without an event.

    With that id, a client that is cut off before its first event resumes where it began.
    """
    retry = random.randint(*_RETRY_MS)  # noqa: S311  not a secret
    return f"retry: {retry}\nid: {event_id}\n\n".encode()


def signal_event(signal: StreamSignal) -> bytes:
    """Return the event, or the comment, for a signal."""
    return _SIGNALS[signal]


@lru_cache(maxsize=256)
def change(change: Change, event_id: str) -> bytes:
    """Return the event `build` for a change."""
    return f"id: {event_id}\nevent: build\ndata: {change.build.model_dump_json()}\n\n".encode()


def builds(news: Change | StreamSignal) -> bytes:
    """Return the event for a follower of all builds of a user."""
    return signal_event(news) if isinstance(news, StreamSignal) else change(news, str(news.version))


class BuildEvents:
    """A `BuildEvents` writes the events for one follower of one build, in their order."""

    def __init__(self, at: Position) -> None:
        self._version = at.version
        self._text = LogText(at.offset)

    @property
    def last_id(self) -> str:
        """Return the `Last-Event-ID` from which a client resumes."""
        return f"{self._version}-{self._text.offset}"

    def of(self, news: Change | LogPiece | StreamSignal) -> bytes:
        """Return the event for what comes next; empty when the bytes of a character are missing."""
        if isinstance(news, LogPiece):
            return self._text.of(news, self._version)
        if isinstance(news, Change):
            self._version = news.version
            return change(news, self.last_id)
        return self._text.rest(self._version) + signal_event(news)


class LogText:
    """A `LogText` turns pieces of a log into text; the bytes of an incomplete character wait."""

    def __init__(self, offset: int) -> None:
        self._waiting = b""
        self.offset = offset  #: the first byte that no event has carried yet

    def of(self, piece: LogPiece, version: int) -> bytes:
        """Return the event `log` for a piece; empty when all of it has to wait."""
        frame, self._waiting = _log(self._waiting, piece, version)
        self.offset = piece.end - len(self._waiting)
        return frame

    def rest(self, version: int) -> bytes:
        """Return the event for the bytes that still wait when the log has ended."""
        if not self._waiting:
            return b""
        piece = LogPiece(self.offset, self._waiting)
        self._waiting = b""
        self.offset = piece.end
        return _event(piece.start, piece.data, version)


@lru_cache(maxsize=256)
def _log(waiting: bytes, piece: LogPiece, version: int) -> tuple[bytes, bytes]:
    """Return the event for the bytes that waited and a piece, and the bytes that wait now."""
    data = waiting + piece.data
    start = piece.start - len(waiting)
    decoder = _Utf8()
    try:
        text = decoder.decode(data)
    except UnicodeDecodeError:
        return _event(start, data, version), b""
    rest, _ = decoder.getstate()
    if not text:
        return b"", rest
    return _event(start, data[: len(data) - len(rest)], version), rest


def _event(start: int, data: bytes, version: int) -> bytes:
    end = start + len(data)
    payload: dict[str, Any] = {"offset": start, "end": end}
    try:
        payload["text"] = data.decode()
    except UnicodeDecodeError:
        payload["base64"] = base64.b64encode(data).decode()
    text = json.dumps(payload, ensure_ascii=False)
    return f"id: {version}-{end}\nevent: log\ndata: {text}\n\n".encode()
