"""The broker's check: it takes messages, in the queue that workers read."""

from typing import Final

from app.builds.errors import QueueUnavailable
from app.builds.queue import CeleryQueue
from app.config.lifetime import redelivery_after
from app.config.settings import Settings
from app.contract import queue as wire
from app.contract.doctor import Finding
from app.doctor.redact_url import failure, redact_url

_CHECK: Final = "broker"


async def check_broker(settings: Settings) -> list[Finding]:
    """Return whether the queue can be declared; nothing is sent."""
    name = "RabbitMQ" if wire.is_amqp(settings.broker) else "Redis"
    place = f"{name} at {redact_url(settings.broker)}"
    queue = CeleryQueue(
        settings.broker,
        redelivery_after=redelivery_after(settings.timing, settings.max_build_timeout),
        seal=settings.seal,
    )
    try:
        await queue.declare()
    except QueueUnavailable as error:
        cause = error.__context__
        words = failure(cause) if isinstance(cause, Exception) else str(error)
        return [Finding.wrong(_CHECK, f"{place} does not take our queue: {words}", _advice(name))]
    finally:
        await queue.close()
    return [Finding.ok(_CHECK, f"{place} has the queue {wire.QUEUE}")]


def _advice(name: str) -> str:
    if name == "RabbitMQ":
        return (
            "see BATON_BROKER_URL, that its user has the rights configure, write and read on "
            f"^{wire.QUEUE.replace('.', chr(92) + '.')}$, and that no queue {wire.QUEUE} was "
            "declared otherwise (docs/deploying.md, RabbitMQ as the broker)"
        )
    return "see that it runs, and BATON_BROKER_URL (default: the Redis of BATON_REDIS_URL)"
