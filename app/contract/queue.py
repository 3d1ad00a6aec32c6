"""What API and worker agree on about Celery: names, the queue, and where the token travels."""

from typing import Final
from urllib.parse import parse_qs, urlsplit

QUEUE: Final = "baton.builds"
RUN_BUILD: Final = "baton.run_build"  #: task name; its one argument is the build's id

#: Seconds for which a broker waits for the acknowledgement of a message before it gives it to
#: somebody else: more than any attempt at a build may take, or the API does not start. A constant,
#: because workers do not know how long builds may be, and a queue keeps the arguments it was
#: declared with. Workers acknowledge when a build begins; this is the fence behind that.
REDELIVERY: Final = 10 * 24 * 3600

#: How the queue is declared. RabbitMQ refuses a second declaration that differs, so both sides take
#: theirs from here; Redis has no use for it. A quorum queue is RabbitMQ's durable, replicated kind:
#: what it has confirmed survives the loss of a node. The timeout, in milliseconds, takes the place
#: of the broker's own (30 minutes) from RabbitMQ 3.12 on; older ones ignore it.
QUEUE_ARGUMENTS: Final = {"x-queue-type": "quorum", "x-consumer-timeout": REDELIVERY * 1000}

#: The schemes of a broker's URL: it alone says what the broker is.
BROKERS: Final = ("redis", "rediss", "redis+socket", "amqp", "amqps", "pyamqp")

#: The message header that carries the build token. Never in args or kwargs: those are shown by
#: `inspect`, events, DEBUG logs and result backends; a header of our own is shown by none of them.
#: It is sealed (`sealing.py`, for the build's id) where API and workers share keys.
TOKEN_HEADER: Final = "baton_token"  # noqa: S105


def broker_of(store_url: str) -> str:
    """The URL by which Celery reaches the Redis that `store_url` names: for a socket, kombu has a
    spelling of its own."""
    parts = urlsplit(store_url)
    if parts.scheme != "unix":
        return store_url
    database = parse_qs(parts.query).get("db", ["0"])[0]
    user = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
    return f"redis+socket://{user}{parts.path}?virtual_host={database}"


def is_amqp(broker_url: str) -> bool:
    """Whether the broker is RabbitMQ (AMQP 0-9-1); Redis otherwise."""
    return urlsplit(broker_url).scheme in {"amqp", "amqps", "pyamqp"}


def broker_use_ssl(broker_url: str) -> dict[str, str | None] | None:
    """Celery's setting of that name: for `amqps`, that the certificate must be the host's.

    Without it, a certificate of anybody's that a known authority signed would do. Redis' options
    are in its URL.
    """
    parts = urlsplit(broker_url)
    return {"server_hostname": parts.hostname} if parts.scheme == "amqps" else None
