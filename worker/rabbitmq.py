"""`RabbitConsumer` takes a message from RabbitMQ only while there is a free slot for its build.

RabbitMQ sends the next message as soon as the one before is acknowledged, which is when its build
begins; Celery would keep as many back as it has slots, behind builds of hours, while other workers
are idle. `worker_disable_prefetch` prevents that, but only on Redis. Here the worker subscribes
for one message at a time, and unsubscribes while every slot is taken.

The road not taken is to acknowledge late: the message would stay unacknowledged for as long as its
build runs, and RabbitMQ closes a channel that keeps one for longer than `consumer_timeout`
(30 minutes unless its operator says otherwise). As it is, that timer ends when a build begins.
"""

from typing import Any, Final

from celery.bootsteps import Blueprint
from celery.worker import state
from celery.worker.consumer.tasks import Tasks
from kombu import Connection, Consumer

from worker.consumer import BuildConsumer

#: Seconds for the broker's every answer. Without it, a frozen broker would block this process, its
#: heartbeats and its shutdown included.
_SOCKET_TIMEOUT: Final = 5

#: Seconds between two looks of the event loop at whether the worker was told to stop: a signal does
#: not wake it, and on an idle connection little else does.
_POLL_INTERVAL: Final = 0.5


class SlotConsumer(Consumer):
    """A `SlotConsumer` subscribes to the queue only while a slot is free."""

    slots: int = 0  #: builds at once

    def consume(self, no_ack: bool | None = None) -> None:
        if self._has_free_slot():
            super().consume(no_ack=no_ack)

    def match_slots(self) -> None:
        """Subscribe when a slot is free, unsubscribe when none is.

        Runs before each wait of the event loop, and so between the arrival of the message that
        takes the last slot and its acknowledgement: RabbitMQ sends no other in between.
        """
        subscribed = any(self.consuming_from(queue) for queue in self.queues)
        if subscribed and not self._has_free_slot():
            self.cancel()
        elif not subscribed:
            self.consume()

    def _has_free_slot(self) -> bool:
        return len(state.reserved_requests) < self.slots


class SlotTasks(Tasks):
    """`SlotTasks` is Celery's step that starts to consume, with a `SlotConsumer`."""

    def __init__(self, c: "RabbitConsumer", **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(c, **kwargs)
        self._consumer = c

    def start(self, c: "RabbitConsumer") -> None:
        c.initial_prefetch_count = 1
        c.connection.connection.sock.settimeout(_SOCKET_TIMEOUT)
        c.app.amqp.Consumer = SlotConsumer
        super().start(c)
        c.task_consumer.slots = c.pool.num_processes

    def stop(self, c: "RabbitConsumer") -> None:
        c.hub.on_tick.discard(self._match_slots)
        try:
            if c.task_consumer:
                c.task_consumer.cancel()
        except c.connection_errors:
            if c.connection:  # or each later step would wait for its own answer
                c.connection.collect()

    def register_with_event_loop(self, c: "RabbitConsumer", hub: Any) -> None:  # noqa: ANN401
        del c
        hub.on_tick.add(self._match_slots)
        hub.call_repeatedly(_POLL_INTERVAL, lambda: None)  # ends with the event loop

    def _match_slots(self) -> None:
        if self._consumer.task_consumer:
            self._consumer.task_consumer.match_slots()


class RabbitSteps(Blueprint):
    """`RabbitSteps` names the steps of Celery's that a worker needs.

    Celery's whole list would add dozens of queues for delayed messages, of which we send none.
    """

    name = "Consumer"
    default_steps = {  # noqa: RUF012  as Celery has it
        "celery.worker.consumer.connection:Connection",
        SlotTasks,
        "celery.worker.consumer.consumer:Evloop",
    }

    def shutdown(self, parent: "RabbitConsumer") -> None:
        self.send_all(parent, "shutdown")


class RabbitConsumer(BuildConsumer):
    """A `RabbitConsumer` is a `BuildConsumer` with the steps for RabbitMQ."""

    Blueprint = RabbitSteps
    # The steps use these. The first two exist between a step's start and its end.
    connection: Connection
    task_consumer: SlotConsumer
    connection_errors: tuple[type[BaseException], ...]
    hub: Any
    initial_prefetch_count: int
