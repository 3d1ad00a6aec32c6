"""Answers that have no end of their own: how many of them one user may have open here."""

from collections import Counter
from collections.abc import AsyncIterable, Callable, Mapping

from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from app.api.problems import quota_exceeded
from app.contract.problems import Code

#: Seconds after which it may be worth another try: streams end with builds, which nobody foretells.
_WAIT = 10


class Streams:
    """Those of this process; each replica allows as many."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open: Counter[str] = Counter()

    @property
    def open(self) -> int:
        """How many there are now, of all users."""
        return self._open.total()

    def response(
        self,
        user_id: str,
        content: AsyncIterable[bytes],
        status: int,
        headers: Mapping[str, str],
        media_type: str,
    ) -> Response:
        """An answer that counts until it is sent or its reader has gone. Raises `ApiError`."""
        if self._open[user_id] >= self._limit:
            raise quota_exceeded(
                Code.TOO_MANY_STREAMS,
                f"you follow {self._limit} logs or events at once, which is the limit here: end "
                "one of them. BATON_USER_STREAMS is the setting",
                policy="streams",
                quota=self._limit,
                wait=_WAIT,
            )
        self._open[user_id] += 1
        return _Counted(content, status, headers, media_type, end=lambda: self._end(user_id))

    def _end(self, user_id: str) -> None:
        self._open[user_id] -= 1
        if not self._open[user_id]:
            del self._open[user_id]


class _Counted(StreamingResponse):
    def __init__(
        self,
        content: AsyncIterable[bytes],
        status: int,
        headers: Mapping[str, str],
        media_type: str,
        *,
        end: Callable[[], None],
    ) -> None:
        super().__init__(content, status, headers, media_type)
        self._end = end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Not at the end of `content`: one that is never begun has no end.
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._end()
