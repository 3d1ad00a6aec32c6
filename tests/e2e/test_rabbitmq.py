"""The whole service with RabbitMQ as its broker, chosen by `BATON_BROKER_URL` alone."""

import signal
from collections.abc import Iterator

import amqp
import httpx
import pytest

from app.contract import queue as wire
from tests.e2e.test_outages import COUNTING, numbers
from tests.e2e.user import User, steps
from tests.rabbitmq_process import RabbitProcess
from tests.stack import Part, Stack
from tests.waiting import wait_until

#: Runs until it is told to end: the other builds of a test decide how long that is.
ENDLESS = "echo begun; while :; do sleep 0.2; done"


@pytest.fixture(scope="module")
def rabbit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitProcess]:
    with RabbitProcess(tmp_path_factory.mktemp("rabbit")) as process:
        with amqp.Connection(f"127.0.0.1:{process.port}") as connection:
            declare(connection)
        # RabbitMQ 3.10 loses a quorum queue if it is killed within moments of the declaration.
        process.stop()
        process.start()
        yield process


@pytest.fixture
def stack(rabbit: RabbitProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with amqp.Connection(f"127.0.0.1:{rabbit.port}") as connection:
        connection.channel().queue_purge(wire.QUEUE)  # of what the test before left
    with Stack(tmp_path_factory.mktemp("stack"), BATON_BROKER_URL=rabbit.url) as stack:
        yield stack


def declare(connection: amqp.Connection) -> tuple[str, int, int]:
    """The queue, as API and worker declare it."""
    found = connection.channel().queue_declare(
        wire.QUEUE, durable=True, auto_delete=False, arguments=wire.QUEUE_ARGUMENTS
    )
    assert found
    name, messages, consumers = found
    return name, messages, consumers


def worker(stack: Stack, rabbit: RabbitProcess, *, concurrency: int = 1) -> Part:
    return stack.worker(concurrency=concurrency, BATON_BROKER_URL=rabbit.url)


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
    with amqp.Connection(f"127.0.0.1:{rabbit.port}") as connection:
        assert declare(connection)[1:] == (0, 1)  # messages, consumers
        with pytest.raises(amqp.exceptions.PreconditionFailed):
            connection.channel().queue_declare(
                wire.QUEUE, durable=True, auto_delete=False,
                arguments={"x-queue-type": "classic"},
            )  # fmt: skip


def test_short_builds_do_not_wait_behind_a_long_one(stack: Stack, rabbit: RabbitProcess) -> None:
    """Were a message held back by the busy worker, it would wait for BATON_QUEUE_TTL."""
    worker(stack, rabbit)
    with User(stack) as ann:
        long = ann.submit(steps(ENDLESS))
        ann.wait_for_log(long, "begun")
        worker(stack, rabbit)
        for _ in range(4):
            build = ann.run(steps("true"), seconds=20)
            assert (build["status"], build["worker"].split(":")[0]) == ("succeeded", "worker2")
        ann.cancel(long)
        assert ann.wait_for(long)["status"] == "cancelled"
        # The worker that was busy takes builds again, and only when it is free.
        stack.workers[1].stop()
        assert ann.run(steps("true"), seconds=20)["worker"].split(":")[0] == "worker1"


def test_each_slot_of_a_worker_has_a_build(stack: Stack, rabbit: RabbitProcess) -> None:
    worker(stack, rabbit, concurrency=2)
    with User(stack) as ann:
        both = [ann.submit(steps(ENDLESS)) for _ in range(2)]
        for build_id in both:
            ann.wait_for_log(build_id, "begun")
        third = ann.submit(steps("true"))
        ann.cancel(both[0])
        assert ann.wait_for(third, seconds=20)["status"] == "succeeded"
        ann.cancel(both[1])
        ann.wait_for(both[1])


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=lambda how: how.name)
def test_the_broker_may_restart_in_the_middle_of_a_build(
    stack: Stack, rabbit: RabbitProcess, how: signal.Signals
) -> None:
    worker(stack, rabbit)
    with User(stack) as ann:
        build_id = ann.submit(steps(COUNTING))
        ann.wait_for_log(build_id, "line 5")
        rabbit.stop(how)
        rabbit.start()
        waiting = ann.submit(steps("true"))
        build = ann.wait_for(build_id)
        assert (build["status"], build["attempt"]) == ("succeeded", 1)
        assert numbers(ann.log(build_id)) == list(range(40))
        assert ann.wait_for(waiting)["status"] == "succeeded"


def test_a_busy_worker_that_reconnects_holds_no_build_back(
    stack: Stack, rabbit: RabbitProcess
) -> None:
    first = worker(stack, rabbit)
    with User(stack) as ann:
        long = ann.submit(steps(ENDLESS))
        ann.wait_for_log(long, "begun")
        waiting = ann.submit(steps("true"))
        wait_until("it is in the queue", lambda: ann.show(waiting)["attempt"] == 1)
        rabbit.stop()
        rabbit.start()
        wait_until("the worker is back", lambda: "Connected to" in _after_loss(first), seconds=60)
        worker(stack, rabbit)
        for build_id in waiting, ann.submit(steps("true")):
            build = ann.wait_for(build_id, seconds=20)
            assert (build["status"], build["attempt"]) == ("succeeded", 1)
            assert build["worker"].split(":")[0] == "worker2"
        ann.cancel(long)
        ann.wait_for(long)


def _after_loss(part: Part) -> str:
    return part.output().rpartition("connection to broker lost")[2]


def test_a_build_submitted_while_the_broker_is_away_waits_and_then_runs(
    stack: Stack, rabbit: RabbitProcess
) -> None:
    worker(stack, rabbit)
    with User(stack) as ann:
        rabbit.stop()
        build_id = ann.submit(steps("true"))
        wait_until(
            "it says why it waits",
            lambda: ann.show(build_id)["reason"] == "broker_unavailable",
        )
        assert readiness(stack) == {"store": "ok", "broker": "unavailable", "issuer": "ok"}
        rabbit.start()
        build = ann.wait_for(build_id)
        assert (build["status"], build["reason"]) == ("succeeded", None)
        wait_until("the broker is ready", lambda: readiness(stack)["broker"] == "ok")


def test_a_frozen_broker_is_one_that_is_away(stack: Stack, rabbit: RabbitProcess) -> None:
    worker(stack, rabbit)
    with User(stack) as ann:
        assert ann.run(steps("true"))["status"] == "succeeded"  # connections are open now
        rabbit.send(signal.SIGSTOP)
        build_id = ann.submit(steps("true"))
        wait_until(
            "it says why it waits",
            lambda: ann.show(build_id)["reason"] == "broker_unavailable",
        )
        assert readiness(stack)["broker"] == "unavailable"
        rabbit.send(signal.SIGCONT)
        assert ann.wait_for(build_id)["status"] == "succeeded"


def test_a_worker_told_to_stop_while_the_broker_is_frozen_stops(
    stack: Stack, rabbit: RabbitProcess
) -> None:
    part = worker(stack, rabbit)
    assert part.process
    rabbit.send(signal.SIGSTOP)
    part.process.send_signal(signal.SIGTERM)
    assert part.process.wait(60) is not None
    rabbit.send(signal.SIGCONT)
