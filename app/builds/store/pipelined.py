"""A connection to Redis on which calls do not wait for the answers to those before them.

Redis answers in the order in which it is asked. So all tasks share one connection, and what they
ask within one turn of the event loop leaves in one write: a fifth of the work that a pool is, which
gives each call a connection of its own and waits for three things in turn.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

from hiredis import pack_command
from redis.asyncio import ConnectionPool
from redis.exceptions import ConnectionError as RedisConnectionError, RedisError, ResponseError

#: Seconds for an answer before a call counts as failed: callers are people and workers that retry.
CALL_TIMEOUT: Final = 5.0

Word = str | bytes | float


class PipelinedConnection:
    """Safe to call from any number of tasks of one event loop at once. Opened when it is needed
    first, and again after it broke."""

    def __init__(self, pool: ConnectionPool) -> None:
        """Connects as `pool` does, and takes none of its connections."""
        self._pool: Any = pool  # untyped
        self._opening = asyncio.Lock()
        self._open: _Open | None = None

    async def call(self, *words: Word) -> Any:  # noqa: ANN401  Redis' answer
        """One command. Raises `TimeoutError`, `redis.exceptions.ConnectionError` or what Redis
        says; one that was not answered may have been carried out all the same."""
        [answer] = await self.calls(words)
        return answer

    async def calls(self, *commands: Sequence[Word]) -> list[Any]:
        """Several commands in one round trip, which others may come between. Raises what `call`
        raises, for the first that fails."""
        connection, before = None, 0
        try:
            async with asyncio.timeout(CALL_TIMEOUT):
                connection = self._usable() or await self._connect()
                before = connection.answers
                return await asyncio.gather(*(connection.ask(words) for words in commands))
        except TimeoutError:
            # It may be slow because much goes over it; if nothing does, nobody gets an answer.
            if connection is not None and connection.answers == before:
                connection.close("no answers came")
            raise

    async def close(self) -> None:
        if self._open is not None:
            self._open.close("this process ends")
            await self._open.closed()

    def _usable(self) -> "_Open | None":
        return self._open if self._open is not None and not self._open.broken else None

    async def _connect(self) -> "_Open":
        async with self._opening:
            found = self._usable()
            if found is None:
                connection = self._pool.make_connection()
                connection.socket_timeout = None  # it is listened to while nobody asks anything
                await connection.connect()
                found = self._open = _Open(connection)
            return found


class _Open:
    """One connection, from when it stands until it breaks."""

    def __init__(self, connection: Any) -> None:  # noqa: ANN401  redis-py's is untyped
        self._connection = connection
        self._unsent: list[bytes] = []
        self._more = asyncio.Event()
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._why = "the connection ended"
        self.broken = False
        self.answers = 0  #: so many came
        self._running = asyncio.create_task(self._run(), name="store")

    def ask(self, words: Sequence[Word]) -> asyncio.Future[Any]:
        """What will be the answer. Who stops waiting for it disturbs nobody."""
        packed = pack_command(tuple(words))  # type: ignore[arg-type]  # of one word, it says
        answer = asyncio.get_running_loop().create_future()
        self._unsent.append(packed)
        self._waiting.append(answer)
        self._more.set()
        return answer

    def close(self, why: str) -> None:
        self._why = why
        self.broken = True
        self._running.cancel()

    async def closed(self) -> None:
        await asyncio.wait([self._running])

    async def _run(self) -> None:
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._send())
                both.create_task(self._receive())
        except* (RedisError, OSError) as errors:
            first = errors.exceptions[0]
            self._why = f"{type(first).__name__}: {first}"
        finally:
            self.broken = True
            for answer in self._waiting:
                if not answer.done():
                    answer.set_exception(RedisConnectionError(self._why))
            await self._connection.disconnect(nowait=True)

    async def _send(self) -> None:
        while True:
            await self._more.wait()
            self._more.clear()
            unsent, self._unsent = self._unsent, []
            await self._connection.send_packed_command(unsent, check_health=False)

    async def _receive(self) -> None:
        while True:
            try:
                said, error = await self._connection.read_response(), None
            except ResponseError as refusal:
                said, error = None, refusal
            self.answers += 1
            answer = self._waiting.popleft()
            if answer.done():
                continue  # nobody waits for it any more
            if error is None:
                answer.set_result(said)
            else:
                answer.set_exception(error)
