"""A `StreamLimit` bounds how many streamed responses one user may have open in this process.

With a thousand readers of one log, everything between its stream and a connection is done a
thousand times for each piece. So no generator wraps another one here, and there is no task that
could be spared.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.api.problems import quota_exceeded
from app.contract.problems import Code

T = TypeVar("T")

#: Seconds for `Retry-After`; a guess, because streams end when builds do.
_RETRY_AFTER = 10


class StreamLimit:
    """A `StreamLimit` holds for this process alone; each replica allows as many."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open: Counter[str] = Counter()

    @property
    def open(self) -> int:
        """Return how many streams are open now, of all users."""
        return self._open.total()

    def response(
        self,
        user_id: str,
        news: AsyncGenerator[T, None],
        write: Callable[[T], bytes],
        status: int,
        headers: Mapping[str, str],
        media_type: str,
        *,
        opening: bytes = b"",
    ) -> Response:
        """Return a response that sends `opening`, then what `write` makes of each of the `news`.

        Where `write` returns no bytes, nothing is sent. The response counts until it is complete or
        its client has disconnected. Raises `ApiError` (429) above the limit.
        """
        if self._open[user_id] >= self._limit:
            raise quota_exceeded(
                Code.TOO_MANY_STREAMS,
                f"you follow {self._limit} logs or events at once, which is the limit here: end "
                "one of them. BATON_USER_STREAMS is the setting",
                policy="streams",
                quota=self._limit,
                wait=_RETRY_AFTER,
            )
        self._open[user_id] += 1
        return _Counted(
            _Content(opening, news, write), status, headers, media_type,
            end=lambda: self._end(user_id),
        )  # fmt: skip

    def _end(self, user_id: str) -> None:
        self._open[user_id] -= 1
        if not self._open[user_id]:
            del self._open[user_id]


@dataclass(frozen=True, slots=True)
class _Content(Generic[T]):
    opening: bytes
    news: AsyncGenerator[T, None]
    write: Callable[[T], bytes]

    async def send(self, send: Send) -> None:
        if self.opening:
            await send({"type": "http.response.body", "body": self.opening, "more_body": True})
        async with aclosing(self.news) as news:
            async for each in news:
                piece = self.write(each)
                if piece:
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


class _Counted(Response):
    """Sends content until it ends or the client disconnects.

    It takes one task for each client beside the request's own; Starlette's response takes more.
    """

    def __init__(
        self,
        content: _Content[Any],
        status: int,
        headers: Mapping[str, str],
        media_type: str,
        *,
        end: Callable[[], None],
    ) -> None:
        super().__init__(None, status, headers, media_type)
        del self.headers["content-length"]
        self._content = content
        self._end = end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope
        # Sending has a task of its own, so that each piece wakes no more code than it needs.
        sender = asyncio.create_task(self._send(send))
        reader = asyncio.current_task()
        receiving = True

        def ended(_: object) -> None:
            if receiving and reader is not None:
                reader.cancel()

        sender.add_done_callback(ended)
        # Here, not at the end of the content: content that never began does not reach its end.
        try:
            while (await receive())["type"] != "http.disconnect":
                pass
        except asyncio.CancelledError:
            if reader is None or not sender.done():
                raise
            reader.uncancel()
        finally:
            receiving = False
            sender.cancel()
            self._end()
        await asyncio.wait({sender})
        if not sender.cancelled():
            sender.result()

    async def _send(self, send: Send) -> None:
        status, headers = self.status_code, self.raw_headers
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await self._content.send(send)
