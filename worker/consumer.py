"""Taking messages off the queue, so that none of them can stop the worker.

Celery gives a message back to the queue when reading it raises what a lost connection may raise,
KeyError included, and takes it again at once: a single misshapen message would keep every worker
busy for ever. Over an entry of the queue that is no message at all, it ends, and its builds with
it. Whoever can write to the broker could do either, by mistake or not.
"""

import logging
from collections.abc import Callable
from typing import Any, Final

from celery.worker.consumer import Consumer
from kombu import Message

from app.contract import queue as wire
from worker.request import named

log = logging.getLogger(__name__)

#: What Celery and kombu raise over a message that is not what they expect.
_MISSHAPEN: Final = (KeyError, IndexError, TypeError, ValueError, AttributeError)


class BuildConsumer(Consumer):
    """Drops what is no message for a build, and goes on."""

    loop: Callable[..., None]

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **kwargs)
        self._celery_loop = self.loop
        self.loop = self._loop

    def _loop(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        """Receive messages. What broke it is off the queue; a new connection is a new start."""
        try:
            self._celery_loop(*args, **kwargs)
        except _MISSHAPEN as error:
            raise ConnectionError(f"something else in the queue: {type(error).__name__}") from None

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Message], None]:  # noqa: ANN401
        handle = super().create_task_handler(*args, **kwargs)

        def receive(message: Message) -> None:
            why = refusal(message.headers, message.content_type)
            if why is None:
                try:
                    with named(message):
                        handle(message)
                except _MISSHAPEN as error:
                    why = type(error).__name__
            if why is not None:
                log.error("a message that is no build's (%s); dropped", why)
                if not message.acknowledged:
                    message.reject()

        return receive


def refusal(headers: object, content_type: object) -> str | None:
    """What is wrong with a message, in words that hold nothing of it; None when it can be run.

    `eta` and `timelimit` are checked here because Celery has given the message one of the worker's
    slots by the time when it looks at them.
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
