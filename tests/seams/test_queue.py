"""The way to the workers, on each broker: what `BuildQueue` promises, and when brokers fail."""

import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Protocol

import amqp
import pytest
from kombu import Connection, Queue

from app.builds.errors import QueueUnavailable
from app.builds.queue import CeleryQueue
from app.config.lifetime import Timing, timers
from app.config.settings import Settings
from app.contract import queue as wire
from app.contract.doctor import Mark
from app.contract.sealing import new_key
from app.doctor.broker import check_broker
from tests.support.servers.certificates import Certificate
from tests.support.servers.rabbitmq_process import RabbitProcess
from tests.support.servers.redis_process import RedisProcess
from tests.support.waiting import wait_until
from worker.celery_app import create_celery
from worker.settings import WorkerSettings

TIMERS = timers(Timing(queue_ttl=60, kill_grace=5, report_window=30, leeway=10), 100)

#: Far above what a bounded call takes, far below what an unbounded one does.
BOUND = 30.0


class Broker(Protocol):
    url: str

    def start(self) -> None: ...
    def stop(self, how: signal.Signals = ...) -> None: ...
    def send(self, what: signal.Signals) -> None: ...


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    with RedisProcess(tmp_path_factory.mktemp("redis")) as process:
        yield process


@pytest.fixture(params=["redis", "rabbit"])
def broker(request: pytest.FixtureRequest) -> Broker:
    found: Broker = request.getfixturevalue(request.param)
    return found


@pytest.fixture
async def queue(broker: Broker) -> AsyncIterator[CeleryQueue]:
    messages(broker)  # of the test before
    queue = CeleryQueue(broker.url, redelivery_after=100)
    yield queue
    await queue.close()


@contextmanager
def frozen(broker: Broker) -> Iterator[None]:
    broker.send(signal.SIGSTOP)
    try:
        yield
    finally:
        broker.send(signal.SIGCONT)


def messages(broker: Broker) -> list[Any]:
    """What waits for a worker; it is taken."""
    with Connection(broker.url) as connection:
        queue = Queue(wire.QUEUE, queue_arguments=wire.QUEUE_ARGUMENTS)(connection.channel())
        queue.declare()
        found = []
        while (message := queue.get(no_ack=True)) is not None:
            found.append(message)
        return found


def ids(broker: Broker) -> list[str]:
    return [message.payload[0][0] for message in messages(broker)]


async def fails_in_time(queue: CeleryQueue) -> None:
    begun = time.monotonic()
    with pytest.raises(QueueUnavailable):
        await queue.send("bld_lost", "token", TIMERS)
    with pytest.raises(QueueUnavailable):
        await queue.ping()
    assert time.monotonic() - begun < BOUND


async def test_a_message_names_the_build_and_has_the_token_in_its_header_alone(
    queue: CeleryQueue, broker: Broker
) -> None:
    await queue.ping()
    await queue.send("bld_one", "the-token-itself", TIMERS)
    await queue.send("bld_two", "another", TIMERS)
    first, second = messages(broker)
    assert first.payload[:2] == [["bld_one"], {}]
    assert second.payload[:2] == [["bld_two"], {}]
    headers = dict(first.headers)
    assert headers.pop(wire.TOKEN_HEADER) == "the-token-itself"
    others = {k: v for k, v in first.properties.items() if k != "application_headers"}
    assert "the-token-itself" not in f"{headers}{others}{first.body}"
    assert headers["task"] == wire.RUN_BUILD
    assert headers["timelimit"][0] >= TIMERS.hard_limit


async def test_a_broker_that_restarted_is_sent_to_at_once(
    queue: CeleryQueue, broker: Broker
) -> None:
    await queue.send("bld_before", "token", TIMERS)
    broker.stop()
    broker.start()
    await queue.send("bld_after", "token", TIMERS)
    assert ids(broker) == ["bld_before", "bld_after"]


async def test_a_broker_that_is_away_is_said_to_be_so_in_time(
    queue: CeleryQueue, broker: Broker
) -> None:
    await queue.send("bld_before", "token", TIMERS)
    broker.stop()
    await fails_in_time(queue)
    broker.start()
    await queue.ping()
    await queue.send("bld_after", "token", TIMERS)
    assert ids(broker) == ["bld_before", "bld_after"]


@pytest.mark.parametrize("connected", [True, False], ids=["connected", "unconnected"])
async def test_a_broker_that_is_frozen_is_said_to_be_so_in_time(
    queue: CeleryQueue, broker: Broker, *, connected: bool
) -> None:
    if connected:
        await queue.send("bld_before", "token", TIMERS)
    with frozen(broker):
        await fails_in_time(queue)
    await queue.ping()
    await queue.send("bld_after", "token", TIMERS)
    assert ids(broker)[-1] == "bld_after"  # the one before may be there: nobody knew


def test_api_and_worker_declare_the_same_queue(broker: Broker) -> None:
    """RabbitMQ refuses a second declaration that differs from the first."""
    settings = WorkerSettings.from_env(
        {
            "BATON_BROKER_URL": broker.url,
            "BATON_API_URL": "http://127.0.0.1:1",
            "BATON_MESSAGE_KEYS": new_key(),
        }
    )
    celery = create_celery(settings)
    messages(broker)
    with celery.connection_for_read() as connection:
        celery.amqp.TaskConsumer(connection.channel())
    celery.close()


async def test_a_message_that_no_queue_takes_is_not_taken_for_sent(rabbit: RabbitProcess) -> None:
    """RabbitMQ confirms messages that lead nowhere, unless it is asked not to."""
    queue = CeleryQueue(rabbit.url, redelivery_after=100)
    await queue.send("bld_one", "token", TIMERS)
    with rabbit.connect() as connection:
        connection.channel().queue_delete(wire.QUEUE)
    await queue.send("bld_two", "token", TIMERS)
    await queue.close()
    assert ids(rabbit) == ["bld_two"]


async def test_rabbitmq_drops_a_message_that_nobody_took_in_time(rabbit: RabbitProcess) -> None:
    """Its token does not lie in the broker for longer than it can be of use."""
    queue = CeleryQueue(rabbit.url, redelivery_after=100)
    await queue.send("bld_one", "token", TIMERS)
    [message] = messages(rabbit)
    assert message.properties["expiration"] == f"{TIMERS.message_expires * 1000:.0f}"
    await queue.send("bld_two", "token", replace(TIMERS, message_expires=1))
    await queue.close()
    with rabbit.connect() as connection:
        channel = connection.channel()
        wait_until("it is gone", lambda: waiting(channel) == 0)


def waiting(channel: amqp.Channel) -> int:
    found = channel.queue_declare(wire.QUEUE, passive=True)
    assert found
    return found[1]


async def test_rabbitmq_that_lets_us_not_in_is_unavailable(rabbit: RabbitProcess) -> None:
    queue = CeleryQueue(rabbit.url.replace(":guest@", ":wrong@"), redelivery_after=100)
    with pytest.raises(QueueUnavailable, match="AccessRefused"):
        await queue.ping()
    with pytest.raises(QueueUnavailable, match="AccessRefused"):
        await queue.send("bld_one", "token", TIMERS)
    await queue.close()


async def test_rabbitmq_must_have_the_certificate_of_the_host_in_its_url(
    rabbit: RabbitProcess, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One by a known authority, and for that name."""

    async def ping(host: str) -> None:
        queue = CeleryQueue(f"amqps://guest:guest@{host}:{rabbit.tls_port}//", redelivery_after=100)
        try:
            await queue.ping()
        finally:
            await queue.close()

    with pytest.raises(QueueUnavailable, match="CertVerification"):
        await ping("localhost")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.authority))
    await ping("localhost")
    with pytest.raises(QueueUnavailable, match="CertVerification"):
        await ping("127.0.0.1")


async def test_a_queue_that_somebody_declared_otherwise_is_unavailable(
    rabbit: RabbitProcess,
) -> None:
    with rabbit.connect() as connection:
        channel = connection.channel()
        channel.queue_delete(wire.QUEUE)
        channel.queue_declare(wire.QUEUE, durable=True, auto_delete=False)
    queue = CeleryQueue(rabbit.url, redelivery_after=100)
    with pytest.raises(QueueUnavailable, match="PreconditionFailed"):
        await queue.send("bld_one", "token", TIMERS)
    await queue.close()
    with rabbit.connect() as connection:
        connection.channel().queue_delete(wire.QUEUE)


async def test_the_doctor_takes_the_queue_and_reports_one_of_another_kind(
    rabbit: RabbitProcess,
) -> None:
    def settings(url: str) -> Settings:
        return Settings.from_env(
            {
                "BATON_REDIS_URL": "redis://localhost:1",
                "BATON_BROKER_URL": url,
                "BATON_ISSUER": "https://issuer.example.com/",
                "BATON_AUDIENCE": "https://builds.example.com/",
                "BATON_MINT_CLIENT_SECRET": "secret",
                "BATON_MESSAGE_KEYS": new_key(),
            }
        )

    [found] = await check_broker(settings(rabbit.url))
    assert found.mark is Mark.OK and "RabbitMQ" in found.sentence
    with rabbit.connect() as connection:
        channel = connection.channel()
        channel.queue_delete(wire.QUEUE)
        channel.queue_declare(wire.QUEUE, durable=True, auto_delete=False)
    [found] = await check_broker(settings(rabbit.url))
    assert found.mark is Mark.WRONG and "PRECONDITION_FAILED" in found.sentence
    assert "declared otherwise" in (found.advice or "")
    stranger = rabbit.url.replace("guest:guest", "guest:a-wrong-word")
    [found] = await check_broker(settings(stranger))
    assert found.mark is Mark.WRONG and "a-wrong-word" not in found.model_dump_json()
    with rabbit.connect() as connection:
        connection.channel().queue_delete(wire.QUEUE)
