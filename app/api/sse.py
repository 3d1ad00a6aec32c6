"""How events look on the wire (HTML §9.2.6); each is written once for all who hear it together."""

import base64
import codecs
import json
import random
from functools import lru_cache
from typing import Any, Final

from app.builds.streams import Change, LogPiece, Position, StreamSignal

_Utf8: Final = codecs.getincrementaldecoder("utf-8")

MEDIA_TYPE: Final = "text/event-stream"
#: Of every answer that goes on while there is news: a proxy that buffers or compresses it would
#: hold it back.
UNBUFFERED: Final = {"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no"}

#: Milliseconds after which a client comes back to a stream that broke off; by chance, so that not
#: all come at once to an API that has just started.
_RETRY_MS: Final = (500, 3000)

_SIGNS: Final = {
    StreamSignal.QUIET: b": heartbeat\n\n",
    StreamSignal.COMPLETE: b"event: end\ndata: {}\n\n",
    StreamSignal.DELETED: b'event: end\ndata: {"reason": "deleted"}\n\n',
    StreamSignal.EXPIRED: b"event: expired\ndata: "
    b'{"detail": "the access token has expired: open the stream again with a new one"}\n\n',
}


def opening(event_id: str) -> bytes:
    """What a stream begins with. The id stands alone, so that a client that is cut off before its
    first event comes back to where it began."""
    retry = random.randint(*_RETRY_MS)  # noqa: S311  no secret
    return f"retry: {retry}\nid: {event_id}\n\n".encode()


def sign(sign: StreamSignal) -> bytes:
    return _SIGNS[sign]


@lru_cache(maxsize=256)
def change(change: Change, event_id: str) -> bytes:
    return f"id: {event_id}\nevent: build\ndata: {change.build.model_dump_json()}\n\n".encode()


def builds(news: Change | StreamSignal) -> bytes:
    """What one who follows all builds of a user gets."""
    return sign(news) if isinstance(news, StreamSignal) else change(news, str(news.version))


class BuildEvents:
    """What one who follows a build gets."""

    def __init__(self, at: Position) -> None:
        self._version = at.version
        self._text = LogText(at.offset)

    @property
    def last_id(self) -> str:
        """Where a client that comes back goes on."""
        return f"{self._version}-{self._text.offset}"

    def of(self, news: Change | LogPiece | StreamSignal) -> bytes:
        if isinstance(news, LogPiece):
            return self._text.of(news, self._version)
        if isinstance(news, Change):
            self._version = news.version
            return change(news, self.last_id)
        return self._text.rest(self._version) + sign(news)


class LogText:
    """A log as text. The bytes of a character that is not whole yet wait for the rest of it."""

    def __init__(self, offset: int) -> None:
        self._waiting = b""
        self.offset = offset  #: of the first byte that was not told yet

    def of(self, piece: LogPiece, version: int) -> bytes:
        frame, self._waiting = _log(self._waiting, piece, version)
        self.offset = piece.end - len(self._waiting)
        return frame

    def rest(self, version: int) -> bytes:
        """What waits, although no more of it has come."""
        if not self._waiting:
            return b""
        piece = LogPiece(self.offset, self._waiting)
        self._waiting = b""
        self.offset = piece.end
        return _event(piece.start, piece.data, version)


@lru_cache(maxsize=256)
def _log(waiting: bytes, piece: LogPiece, version: int) -> tuple[bytes, bytes]:
    """The event for what waited and a piece, and the bytes that wait now."""
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
    told: dict[str, Any] = {"offset": start, "end": end}
    try:
        told["text"] = data.decode()
    except UnicodeDecodeError:
        told["base64"] = base64.b64encode(data).decode()
    text = json.dumps(told, ensure_ascii=False)
    return f"id: {version}-{end}\nevent: log\ndata: {text}\n\n".encode()
