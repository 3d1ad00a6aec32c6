"""What API and worker agree on about Celery: names, the queue, and where the token travels."""

from typing import Final
from urllib.parse import urlsplit

QUEUE: Final = "baton.builds"
RUN_BUILD: Final = "baton.run_build"  #: task name; its one argument is the build's id

#: How the queue is declared. RabbitMQ refuses a second declaration that differs, so both sides take
#: theirs from here; Redis has no use for it. A quorum queue is RabbitMQ's durable, replicated kind:
#: what it has confirmed survives the loss of a node.
QUEUE_ARGUMENTS: Final = {"x-queue-type": "quorum"}

#: The schemes of a broker's URL: it alone says what the broker is.
BROKERS: Final = ("redis", "rediss", "redis+socket", "amqp", "amqps", "pyamqp")

#: The message header that carries the build token. Never in args or kwargs: those are shown by
#: `inspect`, events, DEBUG logs and result backends; a header of our own is shown by none of them.
#: It is sealed (`sealing.py`, for the build's id) where API and workers share keys.
TOKEN_HEADER: Final = "baton_token"  # noqa: S105


def is_amqp(broker_url: str) -> bool:
    """Whether the broker is RabbitMQ (AMQP 0-9-1); Redis otherwise."""
    return urlsplit(broker_url).scheme in {"amqp", "amqps", "pyamqp"}


def broker_use_ssl(broker_url: str) -> dict[str, None] | None:
    """Celery's setting of that name: for `amqps`, that the certificate must be the host's.

    Without it, a certificate of anybody's that a known authority signed would do. None stands for
    the host of the URL; Redis' options are in its URL.
    """
    return {"server_hostname": None} if urlsplit(broker_url).scheme == "amqps" else None
