"""The queue hands attempts to the workers: one Celery message for each."""

import asyncio
import logging
import math
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Final, Protocol

from celery import Celery
from kombu import Connection, Producer, Queue
from kombu.exceptions import OperationalError

from app.builds.errors import QueueUnavailable
from app.builds.model import Timers
from app.contract import queue as wire
from app.contract.sealing import Seal
from app.observability import tracing
from app.observability.log_context import with_context

log = logging.getLogger(__name__)

#: Seconds to connect to the broker, and to read each of its responses.
_SOCKET_TIMEOUT: Final = 3
#: Seconds for one message in all, after which it counts as not sent.
_SEND_TIMEOUT: Final = 10.0
#: Threads that publish: sending blocks, and the event loop must not.
_SENDERS: Final = 2


class BuildQueue(Protocol):
    """A build queue takes messages for workers.

    Safe to call from several tasks of one event loop at once; `close` comes last, once.
    """

    async def send(self, build_id: str, token: str, timers: Timers) -> None:
        """Queue an attempt. Raises `QueueUnavailable` when the broker did not confirm in time.

        A message that was not confirmed may have been queued all the same, and a confirmed one may
        be there twice: the claim accepts one of them.
        """
        ...

    async def ping(self) -> None:
        """Raise `QueueUnavailable` when the broker does not answer, or refuses our credentials."""
        ...
        """Close the connections; what is being sent may not be."""

    async def close(self) -> None: ...


class CeleryQueue:
    """`CeleryQueue` sends Celery tasks by name, in threads; it imports nothing of the worker's
    code."""

    def __init__(
        self, broker_url: str, *, redelivery_after: float, seal: Seal | None = None
    ) -> None:
        """Connect to nothing yet.

        `redelivery_after`: seconds after which Redis redelivers an unacknowledged message. `seal`
        encrypts the tokens, so that a reader of the broker cannot use them.
        """
        self._seal = seal
        self._amqp = wire.is_amqp(broker_url)
        self._celery = Celery("baton", broker=broker_url, set_as_current=False)
        self._celery.conf.update(
            task_queues=[Queue(wire.QUEUE, queue_arguments=wire.QUEUE_ARGUMENTS)],
            task_default_queue=wire.QUEUE,
            task_serializer="json",
            accept_content=["json"],
            task_ignore_result=True,
            task_send_sent_event=False,
            task_publish_retry=False,
            broker_connection_timeout=_SOCKET_TIMEOUT,
            broker_use_ssl=wire.broker_use_ssl(broker_url),
            broker_transport_options=(
                {"confirm_publish": True} if self._amqp else _redis_options(redelivery_after)
            ),
        )
        #: Connections that no thread is using. They have no AMQP heartbeats, since no thread would
        #: answer them: TCP's keep-alive holds idle ones open, and the next use finds a dead one.
        self._idle: deque[Connection] = deque()
        self._senders = ThreadPoolExecutor(_SENDERS, thread_name_prefix="publish")
        # A thread of its own, so that health checks cannot hold up builds.
        self._pinger = ThreadPoolExecutor(1, thread_name_prefix="ping")
        unused = self._celery.connection_for_write()
        self._errors: tuple[type[BaseException], ...] = (
            OperationalError,
            OSError,  # TimeoutError is one
            *unused.connection_errors,
            *unused.channel_errors,
        )

    async def send(self, build_id: str, token: str, timers: Timers) -> None:
        await self._call_in_thread(self._senders, self._send, build_id, token, timers)

    async def ping(self) -> None:
        await self._call_in_thread(self._pinger, self._ping)

    async def declare(self) -> None:
        """Declare the queue as workers and `send` do.

        Raises `QueueUnavailable` where the broker has another queue of that name, or denies the
        right.
        """
        await self._call_in_thread(self._pinger, self._declare)

    async def close(self) -> None:
        for threads in (self._senders, self._pinger):
            threads.shutdown(wait=False, cancel_futures=True)
        await asyncio.to_thread(self._close)

    async def _call_in_thread(
        self, threads: ThreadPoolExecutor, call: Callable[..., None], *args: object
    ) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_SEND_TIMEOUT):
                await loop.run_in_executor(threads, with_context(call), *args)
        except self._errors as error:
            cause = error.__cause__ or error
            log.warning("the broker: %s", cause or type(cause).__name__)
            raise QueueUnavailable(f"the broker did not answer ({type(cause).__name__})") from None

    def _send(self, build_id: str, token: str, timers: Timers) -> None:
        with suppress(IndexError):
            idle = self._idle.pop()
            try:
                self._publish(idle, build_id, token, timers)
            except Exception as error:  # noqa: BLE001  a dead connection raises many kinds
                # The broker was restarted, say, or its queue deleted: retry on a new connection.
                log.info("connecting to the broker anew: %s", type(error).__name__)
                idle.collect()
            else:
                self._idle.append(idle)
                return
        connection = self._connect()
        try:
            self._publish(connection, build_id, token, timers)
        except BaseException:
            connection.collect()
            raise
        self._idle.append(connection)

    def _connect(self) -> Connection:
        connection = self._celery.connection_for_write()
        try:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=_SOCKET_TIMEOUT)
        except BaseException:
            connection.collect()
            raise
        if self._amqp:
            # Without it, most calls of the connection wait for a response without limit.
            connection.connection.sock.settimeout(_SOCKET_TIMEOUT)
        return connection

    def _publish(self, connection: Connection, build_id: str, token: str, timers: Timers) -> None:
        sealed = self._seal.seal(token, purpose=build_id) if self._seal else token
        options: dict[str, Any] = {}
        if self._amqp:
            options = {
                "mandatory": True,  # without a queue, RabbitMQ confirms messages and drops them
                "confirm_timeout": _SOCKET_TIMEOUT,
                # Celery's own `expires` only tells a worker to drop the message: until then, the
                # token would stay in the broker.
                "expiration": timers.message_expires,
            }
        self._celery.send_task(
            wire.RUN_BUILD,
            args=[build_id],
            headers={wire.TOKEN_HEADER: sealed, **tracing.carrier()},
            queue=wire.QUEUE,
            expires=timers.message_expires,
            time_limit=math.ceil(timers.hard_limit),
            ignore_result=True,
            retry=False,
            producer=Producer(connection),
            **options,
        )

    def _ping(self) -> None:
        self._connect().release()

    def _declare(self) -> None:
        connection = self._connect()
        try:
            self._celery.amqp.queues[wire.QUEUE](connection.default_channel).declare()
        finally:
            connection.collect()

    def _close(self) -> None:
        while self._idle:
            connection = self._idle.pop()
            try:
                connection.release()
            except self._errors:
                connection.collect()
        self._celery.close()


def _redis_options(redelivery_after: float) -> dict[str, Any]:
    return {
        "visibility_timeout": redelivery_after,
        "socket_timeout": _SOCKET_TIMEOUT,
        "socket_connect_timeout": _SOCKET_TIMEOUT,
        "retry_on_timeout": False,
    }
