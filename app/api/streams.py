"""Answers that have no end of their own: how many of them one user may have open here."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Any

from starlette.responses import Response
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
        content: AsyncGenerator[bytes, None],
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


class _Counted(Response):
    """Sends what comes, until it ends or its reader has gone: with one task for each reader beside
    the request's own, where Starlette's takes more."""

    def __init__(
        self,
        content: AsyncGenerator[bytes, None],
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
        self._left = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope
        sender = asyncio.current_task()
        watcher = asyncio.create_task(self._watch(receive, sender))
        # Not at the end of the content: what is never begun has no end.
        try:
            await self._send(send)
        except asyncio.CancelledError:
            if not self._left:
                raise
        finally:
            watcher.cancel()
            self._end()

    async def _send(self, send: Send) -> None:
        status, headers = self.status_code, self.raw_headers
        await send({"type": "http.response.start", "status": status, "headers": headers})
        async with aclosing(self._content) as content:
            async for piece in content:
                if piece:
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _watch(self, receive: Receive, sender: asyncio.Task[Any] | None) -> None:
        """End the answer as soon as nobody is there who reads it."""
        while (await receive())["type"] != "http.disconnect":
            pass
        self._left = True
        if sender is not None:
            sender.cancel()
