"""A pipelined connection to Redis sends each call without waiting for the responses to earlier
ones.

Redis answers commands in the order in which they arrive. So all tasks share one connection, and all
commands of one turn of the event loop leave in one write. This is a fifth of the work of a pool,
which gives each call a connection of its own and waits three times in turn.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

from hiredis import pack_command
from redis.asyncio import ConnectionPool
from redis.exceptions import ConnectionError as RedisConnectionError, RedisError, ResponseError

#: Seconds after which a call without a response has failed: callers are people, or retry.
CALL_TIMEOUT: Final = 5.0

Word = str | bytes | float


class PipelinedConnection:
    """A `PipelinedConnection` opens at its first call, and again after it broke.

    Safe to call from any number of tasks of one event loop at once.
    """

    def __init__(self, pool: ConnectionPool) -> None:
        """Connect with the parameters of `pool`, without taking any of its connections."""
        self._pool: Any = pool  # untyped
        self._opening = asyncio.Lock()
        self._open: _OpenConnection | None = None

    async def call(self, *words: Word) -> Any:  # noqa: ANN401  Redis' answer
        """Return the response to one command.

        Raises `TimeoutError`, `redis.exceptions.ConnectionError`, or the error that Redis responds
        with. A command without a response may have been carried out all the same.
        """
        [answer] = await self.calls(words)
        return answer

    async def calls(self, *commands: Sequence[Word]) -> list[Any]:
        """Return the responses to several commands, sent in one round trip; others may come between
        them.

        Raises what `call` raises, for the first command that fails.
        """
        connection, before = None, 0
        try:
            async with asyncio.timeout(CALL_TIMEOUT):
                connection = self._current() or await self._connect()
                before = connection.responses
                return await asyncio.gather(*(connection.send(words) for words in commands))
        except TimeoutError:
            # A busy connection may be slow; one that brings no response to anybody is dead.
            if connection is not None and connection.responses == before:
                connection.close("no answers came")
            raise

    async def close(self) -> None:
        if self._open is not None:
            self._open.close("this process ends")
            await self._open.closed()

    def _current(self) -> "_OpenConnection | None":
        return self._open if self._open is not None and not self._open.broken else None

    async def _connect(self) -> "_OpenConnection":
        async with self._opening:
            current = self._current()
            if current is None:
                connection = self._pool.make_connection()
                connection.socket_timeout = None  # it is also read while no call is pending
                await connection.connect()
                current = self._open = _OpenConnection(connection)
            return current


class _OpenConnection:
    """One connection, from when it is open until it breaks."""

    def __init__(self, connection: Any) -> None:  # noqa: ANN401  redis-py's is untyped
        self._connection = connection
        self._unsent: list[bytes] = []
        self._wake_up = asyncio.Event()
        self._pending: deque[asyncio.Future[Any]] = deque()
        self._close_reason = "the connection ended"
        self.broken = False
        self.responses = 0  #: received so far
        self._task = asyncio.create_task(self._run(), name="store")

    def send(self, words: Sequence[Word]) -> asyncio.Future[Any]:
        """Return the future of a command's response. Cancelling it disturbs no other call."""
        packed = pack_command(tuple(words))  # type: ignore[arg-type]  # of one word, it says
        answer = asyncio.get_running_loop().create_future()
        self._unsent.append(packed)
        self._pending.append(answer)
        self._wake_up.set()
        return answer

    def close(self, why: str) -> None:
        self._close_reason = why
        self.broken = True
        self._task.cancel()

    async def closed(self) -> None:
        await asyncio.wait([self._task])

    async def _run(self) -> None:
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._send_loop())
                both.create_task(self._receive_loop())
        except* (RedisError, OSError) as errors:
            first = errors.exceptions[0]
            self._close_reason = f"{type(first).__name__}: {first}"
        finally:
            self.broken = True
            for answer in self._pending:
                if not answer.done():
                    answer.set_exception(RedisConnectionError(self._close_reason))
            await self._connection.disconnect(nowait=True)

    async def _send_loop(self) -> None:
        while True:
            await self._wake_up.wait()
            self._wake_up.clear()
            unsent, self._unsent = self._unsent, []
            await self._connection.send_packed_command(unsent, check_health=False)

    async def _receive_loop(self) -> None:
        while True:
            try:
                response, error = await self._connection.read_response(), None
            except ResponseError as refusal:
                response, error = None, refusal
            self.responses += 1
            answer = self._pending.popleft()
            if answer.done():
                continue  # its caller was cancelled
            if error is None:
                answer.set_result(response)
            else:
                answer.set_exception(error)
