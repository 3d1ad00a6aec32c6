"""Files that pages are made of, held in memory and ready to be sent."""

import gzip
import hashlib
import mimetypes
from collections.abc import Mapping
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

_KINDS: Final = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
#: Bytes below which compressing is not worth it.
_SMALL: Final = 512


class File:
    """One file, as it is sent."""

    def __init__(self, name: str, content: bytes) -> None:
        suffix = "." + name.rpartition(".")[2]
        kind = _KINDS.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
        self.media_type = f"{kind}; charset=utf-8"
        self.content = content
        self.zipped = gzip.compress(content, mtime=0) if len(content) >= _SMALL else None
        self.etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'

    def answer(self, request: Request, headers: Mapping[str, str]) -> Response:
        """The file, or 304 where the browser has it (RFC 9110 §13.1.2)."""
        headers = {**headers, "ETag": self.etag, "Vary": "Accept-Encoding"}
        known = request.headers.get("if-none-match", "")
        if self.etag in known or known.strip() == "*":
            return Response(None, 304, headers)
        content = self.content
        if self.zipped is not None and "gzip" in request.headers.get("accept-encoding", ""):
            content = self.zipped
            headers["Content-Encoding"] = "gzip"
        return Response(content, 200, headers, self.media_type)
