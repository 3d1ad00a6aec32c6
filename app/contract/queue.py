"""API and worker agree here on Celery: the task, the queue, and the header with the token."""

from typing import Final
from urllib.parse import parse_qs, urlsplit

QUEUE: Final = "baton.builds"
RUN_BUILD: Final = "baton.run_build"  #: the name of the task; its one argument is the build's id

#: Seconds for which a broker waits for the acknowledgement of a message before it delivers the
#: message to another worker. Settings that let an attempt take longer stop the API's start. It is a
#: constant, because workers do not know how long builds may be, and a queue keeps the arguments
#: that it was declared with. Workers acknowledge when a build begins; this timeout is the second
#: line of defence.
REDELIVERY: Final = 10 * 24 * 3600

#: The arguments of the queue's declaration. RabbitMQ refuses a second declaration that differs, so
#: both sides take theirs from here; Redis ignores them. A quorum queue is RabbitMQ's durable,
#: replicated kind: what it has confirmed survives the loss of a node. The timeout, in milliseconds,
#: takes the place of the broker's own (30 minutes) from RabbitMQ 3.12 on; older ones ignore it.
QUEUE_ARGUMENTS: Final = {"x-queue-type": "quorum", "x-consumer-timeout": REDELIVERY * 1000}

#: The schemes that a broker's URL may have; the scheme says which broker it is.
BROKERS: Final = ("redis", "rediss", "redis+socket", "amqp", "amqps", "pyamqp")

#: The message header that carries the build token. Never in args or kwargs: those are shown by
#: `inspect`, events, DEBUG logs and result backends; a header of our own is shown by none of them.
#: It is sealed (`sealing.py`, for the build's id) where API and workers share keys.
TOKEN_HEADER: Final = "baton_token"  # noqa: S105


def broker_of(store_url: str) -> str:
    """Return the URL by which Celery reaches the Redis at `store_url`.

    The two differ for a Unix socket, which kombu spells `redis+socket:///path`.
    """
    parts = urlsplit(store_url)
    if parts.scheme != "unix":
        return store_url
    database = parse_qs(parts.query).get("db", ["0"])[0]
    user = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
    return f"redis+socket://{user}{parts.path}?virtual_host={database}"


def is_amqp(broker_url: str) -> bool:
    """Return whether the broker is RabbitMQ (AMQP 0-9-1); otherwise it is Redis."""
    return urlsplit(broker_url).scheme in {"amqp", "amqps", "pyamqp"}


def broker_use_ssl(broker_url: str) -> dict[str, str | None] | None:
    """Return Celery's setting of that name: with `amqps`, the certificate must be the host's.

    Without the setting, the certificate of any host would do that a known authority signed. Redis'
    options are in its URL.
    """
    parts = urlsplit(broker_url)
    return {"server_hostname": parts.hostname} if parts.scheme == "amqps" else None
