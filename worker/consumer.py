"""`BuildConsumer` takes messages off the queue, so that no message can stop the worker.

Celery gives a message back to the queue when reading it raises what a lost connection may raise,
KeyError included, and takes it again at once: a single malformed message would keep every worker
busy for ever. An entry of the queue that is no message at all ends Celery, and the builds with it.
Every client that may write to the broker could cause either, by mistake or not.
"""

import logging
from collections.abc import Callable
from typing import Any, Final

from celery.worker.consumer import Consumer
from kombu import Message

from app.contract import queue as wire
from worker.request import named

log = logging.getLogger(__name__)

#: What Celery and kombu raise for a malformed message.
_MALFORMED: Final = (KeyError, IndexError, TypeError, ValueError, AttributeError)


class BuildConsumer(Consumer):
    """A `BuildConsumer` rejects messages that are no build's, and goes on."""

    loop: Callable[..., None]

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **kwargs)
        self._celery_loop = self.loop
        self.loop = self._loop

    def _loop(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        """Receive messages; turn a malformed entry into a lost connection, after which Celery
        reconnects. The entry is off the queue by then."""
        try:
            self._celery_loop(*args, **kwargs)
        except _MALFORMED as error:
            raise ConnectionError(f"something else in the queue: {type(error).__name__}") from None

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Message], None]:  # noqa: ANN401
        handle = super().create_task_handler(*args, **kwargs)

        def receive(message: Message) -> None:
            why = refusal(message.headers, message.content_type)
            if why is None:
                try:
                    with named(message):
                        handle(message)
                except _MALFORMED as error:
                    why = type(error).__name__
            if why is not None:
                log.error("a message that is no build's (%s); dropped", why)
                if not message.acknowledged:
                    message.reject()

        return receive


def refusal(headers: object, content_type: object) -> str | None:
    """Say why a message cannot be run, quoting nothing of it; None when it can.

    `eta` and `timelimit` are checked here because Celery reads them only after it has given the
    message one of the worker's slots.
    """
    if not isinstance(headers, dict) or headers.get("task") != wire.RUN_BUILD:
        return "it names another task"
    if not isinstance(headers.get("id"), str):
        return "it has no id"
    if content_type != "application/json":
        return "it is not JSON"
    if headers.get("eta"):
        return "it is for later"
    limits = headers.get("timelimit") or (None, None)
    if not isinstance(limits, list | tuple) or list(map(_is_limit, limits)) != [True, True]:
        return "its time limits are not two numbers"
    return None


def _is_limit(value: object) -> bool:
    return value is None or (
        isinstance(value, int | float) and not isinstance(value, bool) and value > 0
    )
