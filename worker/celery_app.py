"""`create_celery` sets Celery up for builds that take hours.

The store is the truth and a message only a hint: messages are acknowledged early, so that none is
redelivered while its build runs, and a worker that is busy prefetches none. The API's reaper finds
the builds of a worker that died.
"""

import logging
from typing import Any, Final

from celery import Celery
from celery.signals import worker_process_init
from kombu import Queue

from app.contract import queue as wire
from app.process_hardening import die_with_parent, hide_this_process
from worker.consumer import BuildConsumer
from worker.rabbitmq import RabbitConsumer
from worker.settings import WorkerSettings

_SOCKET_TIMEOUT: Final = 10  #: seconds

#: Seconds between heartbeats to RabbitMQ; two missed ones are a lost connection.
_HEARTBEAT_INTERVAL: Final = 30

#: Loggers whose DEBUG lines hold whole messages, the token included.
_VERBOSE_LOGGERS: Final = ("celery", "kombu", "amqp")


def create_celery(settings: WorkerSettings) -> Celery:
    """Return a Celery application for these settings, without tasks (`worker.tasks.register`)."""
    app = Celery("baton", broker=settings.broker, set_as_current=False)
    rabbitmq = wire.is_amqp(settings.broker)
    app.conf.update(
        task_queues=[Queue(wire.QUEUE, queue_arguments=wire.QUEUE_ARGUMENTS)],
        task_default_queue=wire.QUEUE,
        task_serializer="json",
        accept_content=["json"],
        task_acks_late=False,
        task_ignore_result=True,
        task_send_sent_event=False,
        worker_send_task_events=False,
        worker_disable_prefetch=not rabbitmq,  # on RabbitMQ, `SlotConsumer` sees to it
        worker_prefetch_multiplier=1,
        # A build goes on while the broker is away: its calls go to the API.
        worker_cancel_long_running_tasks_on_connection_loss=False,
        # `inspect` and `control` would let whoever writes to the broker command the worker.
        worker_enable_remote_control=False,
        worker_redirect_stdouts=False,
        worker_consumer=RabbitConsumer if rabbitmq else BuildConsumer,
        worker_hijack_root_logger=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_heartbeat=_HEARTBEAT_INTERVAL,
        broker_use_ssl=wire.broker_use_ssl(settings.broker),
        broker_transport_options=_transport_options(settings.broker),
    )
    worker_process_init.connect(_begin_pool_process, weak=False)
    return app


def quieten() -> None:
    """Keep Celery and its libraries above DEBUG, whatever level was asked for."""
    for name in _VERBOSE_LOGGERS:
        logging.getLogger(name).setLevel(max(logging.INFO, logging.getLogger().level))


def _begin_pool_process(**_: Any) -> None:  # noqa: ANN401  Celery's signal arguments
    """Have a pool process die with the worker, and hide its memory from builds of the same user."""
    die_with_parent()
    hide_this_process()


def _transport_options(broker_url: str) -> dict[str, Any]:
    if wire.is_amqp(broker_url):
        return {}
    return {
        "visibility_timeout": wire.REDELIVERY,
        # Without it, a command on a dead connection blocks the event loop, kombu's checks included.
        "socket_timeout": _SOCKET_TIMEOUT,
        "socket_connect_timeout": _SOCKET_TIMEOUT,
        "socket_keepalive": True,
        "health_check_interval": 30,
    }
