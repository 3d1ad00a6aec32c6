"""The whole service with RabbitMQ as its broker, chosen by `BATON_BROKER_URL` alone."""

import signal
from collections.abc import Iterator

import amqp
import httpx
import pytest

from app.contract import queue as wire
from tests.e2e.test_outages import COUNTING, numbers
from tests.e2e.user import FINAL, User, steps
from tests.support.servers.rabbitmq_process import RabbitProcess
from tests.support.stack import Part, Stack
from tests.support.waiting import wait_until

#: Runs until it is told to end: the other builds of a test decide how long that is.
ENDLESS = "echo begun; while :; do sleep 0.2; done"


@pytest.fixture(scope="module")
def kept(rabbit: RabbitProcess) -> RabbitProcess:
    """With the queue, which survives a kill."""
    waiting(rabbit)
    rabbit.wait_until_kept(wire.QUEUE)
    return rabbit


@pytest.fixture(scope="module")
def shared(kept: RabbitProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("stack"), BATON_BROKER_URL=kept.url) as stack:
        yield stack


@pytest.fixture
def stack(shared: Stack, rabbit: RabbitProcess) -> Iterator[Stack]:
    """Without a worker, a build or a message of the test before."""
    yield shared
    with User(shared) as ann:
        for build in ann.http.get("/builds").json()["builds"]:
            if build["status"] not in FINAL:
                ann.cancel(build["id"])
                ann.wait_for(build["id"])
    for part in shared.workers:
        part.stop(signal.SIGKILL)
    with rabbit.connect() as connection:
        connection.channel().queue_purge(wire.QUEUE)


def worker(stack: Stack, rabbit: RabbitProcess, *, concurrency: int = 1) -> Part:
    return stack.worker(concurrency=concurrency, BATON_BROKER_URL=rabbit.url)


def waiting(rabbit: RabbitProcess) -> int:
    """How many messages no worker has; the queue is declared as API and workers declare it."""
    with rabbit.connect() as connection:
        found = connection.channel().queue_declare(
            wire.QUEUE, durable=True, auto_delete=False, arguments=wire.QUEUE_ARGUMENTS
        )
    assert found
    _, messages, _ = found
    return messages


def taken(channel: amqp.Channel, *, no_ack: bool) -> amqp.Message:
    """The next message, as a worker takes it."""
    message = wait_until("it is there", lambda: channel.basic_get(wire.QUEUE, no_ack=no_ack))
    assert message
    return message


def runs_on(build: dict[str, str]) -> str:
    return build["worker"].split(":")[0]


def readiness(stack: Stack) -> dict[str, str]:
    checks: dict[str, str] = httpx.get(f"{stack.api_url}/readyz", timeout=30).json()["checks"]
    return checks


def test_builds_run_and_the_queue_is_a_durable_replicated_one(
    stack: Stack, rabbit: RabbitProcess
) -> None:
    worker(stack, rabbit)
    with User(stack) as ann:
        build = ann.run(steps("echo hello"))
        assert (build["status"], build["attempt"]) == ("succeeded", 1)
        assert "hello" in ann.log(build["id"])
    assert readiness(stack)["broker"] == "ok"
    assert waiting(rabbit) == 0
    with rabbit.connect() as connection, pytest.raises(amqp.exceptions.PreconditionFailed):
        connection.channel().queue_declare(
            wire.QUEUE, durable=True, auto_delete=False, arguments={"x-queue-type": "classic"}
        )


def test_short_builds_do_not_wait_behind_a_long_one(stack: Stack, rabbit: RabbitProcess) -> None:
    """Were a message held back by the busy worker, it would wait for BATON_QUEUE_TTL."""
    first = worker(stack, rabbit)
    with User(stack) as ann:
        long = ann.submit(steps(ENDLESS))
        ann.wait_for_log(long, "begun")
        second = worker(stack, rabbit)
        for _ in range(4):
            build = ann.run(steps("true"), seconds=20)
            assert (build["status"], runs_on(build)) == ("succeeded", second.name)
        ann.cancel(long)
        assert ann.wait_for(long)["status"] == "cancelled"
        # The worker that was busy takes builds again, and only when it is free.
        second.stop(signal.SIGKILL)
        assert runs_on(ann.run(steps("true"), seconds=20)) == first.name


def test_a_worker_has_no_more_messages_than_slots_and_keeps_none_while_builds_run(
    stack: Stack, rabbit: RabbitProcess
) -> None:
    """However long a build is, its message is not one that RabbitMQ waits for."""
    part = worker(stack, rabbit, concurrency=2)
    with User(stack) as ann, rabbit.connect() as connection:
        builds = [ann.submit(steps(ENDLESS)) for _ in range(2)]
        for build_id in builds:
            ann.wait_for_log(build_id, "begun")
        # Somebody who does not acknowledge measures the broker's patience.
        connection.channel().queue_declare("patience", durable=True, auto_delete=False)
        other = connection.channel()
        other.basic_publish(amqp.Message("x"), routing_key="patience")
        wait_until("it has the message", lambda: other.basic_get("patience"))

        builds += [ann.submit(steps("true")) for _ in range(2)]
        wait_until("both are in the queue", lambda: waiting(rabbit) == 2)
        with pytest.raises(amqp.exceptions.PreconditionFailed, match="timed out"):
            connection.drain_events(timeout=60)
        assert waiting(rabbit) == 2
        assert rabbit.unacknowledged()[wire.QUEUE] == 0

        ann.cancel(builds[0])
        for build_id in builds[2:]:
            assert ann.wait_for(build_id, seconds=20)["status"] == "succeeded"
        running = ann.show(builds[1])
        assert (running["status"], running["attempt"]) == ("running", 1)
    assert "connection to broker lost" not in part.output()


def test_a_broker_that_is_killed_while_builds_run_and_wait_costs_none_of_them(
    stack: Stack, rabbit: RabbitProcess
) -> None:
    first = worker(stack, rabbit)
    with User(stack) as ann:
        running = ann.submit(steps(f"{COUNTING}; {ENDLESS}"))
        ann.wait_for_log(running, "line 5")
        queued = ann.submit(steps("true"))
        wait_until("it is in the queue", lambda: waiting(rabbit) == 1)
        rabbit.stop(signal.SIGKILL)
        submitted = ann.submit(steps("true"))
        wait_until(
            "it says why it waits",
            lambda: ann.show(submitted)["reason"] == "broker_unavailable",
        )
        assert readiness(stack) == {"store": "ok", "broker": "unavailable", "issuer": "ok"}
        rabbit.start()

        # A worker that is busy as it comes back holds nothing back from others.
        wait_until("the worker is back", lambda: "Connected to" in _after_loss(first), seconds=60)
        second = worker(stack, rabbit)
        for build_id in queued, submitted:
            build = ann.wait_for(build_id, seconds=40)
            assert (build["status"], build["reason"]) == ("succeeded", None)
            assert runs_on(build) == second.name
        assert ann.show(queued)["attempt"] == 1  # the queue kept its message
        wait_until("the broker is ready", lambda: readiness(stack)["broker"] == "ok")
        ann.wait_for_log(running, "begun")
        assert numbers(ann.log(running)) == list(range(40))
        ann.cancel(running)
        build = ann.wait_for(running)
        assert (build["status"], build["attempt"], runs_on(build)) == ("cancelled", 1, first.name)
        second.stop(signal.SIGKILL)
        assert runs_on(ann.run(steps("true"), seconds=20)) == first.name


def _after_loss(part: Part) -> str:
    return part.output().rpartition("connection to broker lost")[2]


def test_a_frozen_broker_is_one_that_is_away(stack: Stack, rabbit: RabbitProcess) -> None:
    stopping, staying = worker(stack, rabbit), worker(stack, rabbit)
    assert stopping.process
    with User(stack) as ann:
        assert ann.run(steps("true"))["status"] == "succeeded"  # connections are open now
        rabbit.send(signal.SIGSTOP)
        try:
            stopping.process.send_signal(signal.SIGTERM)
            build_id = ann.submit(steps("true"))
            wait_until(
                "it says why it waits",
                lambda: ann.show(build_id)["reason"] == "broker_unavailable",
            )
            assert readiness(stack)["broker"] == "unavailable"
            stopping.process.wait(60)
        finally:
            rabbit.send(signal.SIGCONT)
        build = ann.wait_for(build_id)
        assert (build["status"], runs_on(build)) == ("succeeded", staying.name)


def test_a_build_whose_worker_was_killed_runs_on_another(
    stack: Stack, rabbit: RabbitProcess
) -> None:
    first = worker(stack, rabbit)
    with User(stack) as ann:
        build_id = ann.submit(steps("echo begun; sleep 2"))
        ann.wait_for_log(build_id, "begun")
        first.stop(signal.SIGKILL)
        second = worker(stack, rabbit)
        build = ann.wait_for(build_id)
        assert (build["status"], build["attempt"]) == ("succeeded", 2)
        assert runs_on(build) == second.name
        assert [lost["reason"] for lost in build["attempts"]] == ["worker_lost"]


def test_a_message_that_died_with_its_worker_is_delivered_again(
    stack: Stack, rabbit: RabbitProcess
) -> None:
    with User(stack) as ann:
        build_id = ann.submit(steps("true"))
        with rabbit.connect() as connection:
            taken(connection.channel(), no_ack=False)
            assert waiting(rabbit) == 0
        worker(stack, rabbit)
        build = ann.wait_for(build_id)
        assert (build["status"], build["attempt"]) == ("succeeded", 1)


def test_a_message_that_comes_three_times_runs_its_build_once(
    stack: Stack, rabbit: RabbitProcess
) -> None:
    with User(stack) as ann:
        build_id = ann.submit(steps("echo once; sleep 1"))
        with rabbit.connect() as connection:
            channel = connection.channel()
            message = taken(channel, no_ack=True)
            assert message.headers
            task = message.headers["id"]
            for _ in range(3):
                channel.basic_publish(message, routing_key=wire.QUEUE)
        part = worker(stack, rabbit, concurrency=2)
        wait_until("all came", lambda: part.output().count(f"[{task}] succeeded") == 3)
        build = ann.wait_for(build_id)
        assert (build["status"], build["attempt"]) == ("succeeded", 1)
        assert ann.log(build_id).count("once") == 1


def test_a_message_that_vanished_is_sent_anew(
    rabbit: RabbitProcess, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("short")
    settings = {"BATON_BROKER_URL": rabbit.url, "BATON_QUEUE_TTL": "3"}
    with Stack(folder, **settings) as stack, User(stack) as ann:
        build_id = ann.submit(steps("true"))
        with rabbit.connect() as connection:
            channel = connection.channel()
            wait_until("it is purged", lambda: channel.queue_purge(wire.QUEUE))
        worker(stack, rabbit)
        build = ann.wait_for(build_id)
        assert (build["status"], build["attempt"] > 1) == ("succeeded", True)
