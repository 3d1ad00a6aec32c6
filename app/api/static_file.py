"""The files that pages consist of are held in memory, ready to be sent."""

import gzip
import hashlib
import mimetypes
from collections.abc import Mapping
from functools import cached_property
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

_KINDS: Final = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
#: Bytes below which compression is not worthwhile.
_MIN_COMPRESSED_BYTES: Final = 512


class File:
    """A `File` is served with ETag and gzip, both computed at the first request for them."""

    def __init__(self, name: str, content: bytes) -> None:
        self.name = name
        self.content = content

    @cached_property
    def media_type(self) -> str:
        suffix = "." + self.name.rpartition(".")[2]
        kind = _KINDS.get(suffix) or mimetypes.guess_type(self.name)[0]
        return f"{kind or 'application/octet-stream'}; charset=utf-8"

    @cached_property
    def gzipped(self) -> bytes | None:
        return (
            gzip.compress(self.content, mtime=0)
            if len(self.content) >= _MIN_COMPRESSED_BYTES
            else None
        )

    @cached_property
    def etag(self) -> str:
        return f'"{hashlib.sha256(self.content).hexdigest()[:32]}"'

    def answer(self, request: Request, headers: Mapping[str, str]) -> Response:
        """Return the file, or 304 when the client has it already (RFC 9110 §13.1.2)."""
        headers = {**headers, "ETag": self.etag, "Vary": "Accept-Encoding"}
        known = request.headers.get("if-none-match", "")
        if self.etag in known or known.strip() == "*":
            return Response(None, 304, headers)
        content = self.content
        if self.gzipped is not None and "gzip" in request.headers.get("accept-encoding", ""):
            content = self.gzipped
            headers["Content-Encoding"] = "gzip"
        return Response(content, 200, headers, self.media_type)
