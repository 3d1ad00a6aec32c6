"""The way to the workers: a Celery message for each attempt."""

import asyncio
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from celery import Celery
from kombu import Queue
from kombu.exceptions import OperationalError

from app.builds.errors import QueueUnavailable
from app.builds.model import Timers
from app.contract import queue as wire

#: Seconds for connecting to the broker, and for its every answer.
_SOCKET_TIMEOUT: Final = 3
#: Seconds for one message in all; then it counts as not sent.
_SEND_TIMEOUT: Final = 10.0
#: Threads that publish: sending blocks, and the event loop must not.
_SENDERS: Final = 2


def _transport_options(broker_url: str, redelivery_after: float) -> dict[str, Any]:
    if urlsplit(broker_url).scheme.startswith(("amqp", "pyamqp")):
        return {"confirm_publish": True, "read_timeout": _SOCKET_TIMEOUT}
    return {
        "visibility_timeout": redelivery_after,
        "socket_timeout": _SOCKET_TIMEOUT,
        "socket_connect_timeout": _SOCKET_TIMEOUT,
        "retry_on_timeout": False,
    }


class BuildQueue(Protocol):
    """Takes messages for workers; may be called from several tasks at once."""

    async def send(self, build_id: str, token: str, timers: Timers) -> None:
        """Queue an attempt. Raises `QueueUnavailable` when the broker did not confirm in time."""
        ...

    async def ping(self) -> None:
        """Raises `QueueUnavailable` when the broker does not answer."""
        ...

    async def close(self) -> None: ...


class CeleryQueue:
    """Sends by task name; knows nothing of the worker's code."""

    def __init__(self, broker_url: str, *, redelivery_after: float) -> None:
        """`redelivery_after`: seconds before the broker may redeliver what was not acknowledged."""
        self._celery = Celery("baton", broker=broker_url, set_as_current=False)
        self._celery.conf.update(
            task_queues=[Queue(wire.QUEUE)],
            task_default_queue=wire.QUEUE,
            task_serializer="json",
            accept_content=["json"],
            task_ignore_result=True,
            task_send_sent_event=False,
            task_publish_retry=False,
            broker_connection_timeout=_SOCKET_TIMEOUT,
            broker_connection_retry=False,
            broker_transport_options=_transport_options(broker_url, redelivery_after),
        )
        self._threads = ThreadPoolExecutor(_SENDERS, thread_name_prefix="publish")

    async def send(self, build_id: str, token: str, timers: Timers) -> None:
        await self._bounded(self._send, build_id, token, timers)

    async def ping(self) -> None:
        await self._bounded(self._ping)

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        await asyncio.to_thread(self._celery.close)

    async def _bounded(self, call: Callable[..., None], *args: object) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_SEND_TIMEOUT):
                await loop.run_in_executor(self._threads, call, *args)
        except (OperationalError, OSError) as error:  # TimeoutError is an OSError
            raise QueueUnavailable(f"the broker did not answer ({type(error).__name__})") from None

    def _send(self, build_id: str, token: str, timers: Timers) -> None:
        self._celery.send_task(
            wire.RUN_BUILD,
            args=[build_id],
            headers={wire.TOKEN_HEADER: token},
            queue=wire.QUEUE,
            expires=timers.message_expires,
            time_limit=math.ceil(timers.hard_limit),
            ignore_result=True,
            retry=False,
        )

    def _ping(self) -> None:
        with self._celery.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, timeout=_SOCKET_TIMEOUT)
