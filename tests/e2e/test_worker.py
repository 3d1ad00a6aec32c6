"""Workers and their messages: early acknowledgement, duplicates, rubbish, and dying children."""

import base64
import json
import os
import signal
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from app.contract.queue import QUEUE, TOKEN_HEADER
from app.contract.sealing import Seal, new_key
from tests.e2e.test_cancel import alive
from tests.e2e.user import User, steps
from tests.support.needs import needs
from tests.support.stack import Part, Stack
from tests.support.waiting import wait_until

Message = dict[str, Any]


class Broker:
    """The messages, as whoever can write to the broker sees them."""

    def __init__(self, stack: Stack) -> None:
        self._redis = redis.Redis.from_url(stack.redis.url, decode_responses=True)

    def waiting(self) -> list[str]:
        return [str(raw) for raw in self._redis.lrange(QUEUE, 0, -1)]

    def unacknowledged(self) -> int:
        return int(self._redis.hlen("unacked"))

    def take(self, build_id: str) -> Message:
        """The message for a build that no worker runs for yet, taken out of the queue."""

        def found() -> str | None:
            for raw in self.waiting():
                if build_id in json.loads(raw)["headers"].get("argsrepr", ""):
                    return raw
            return None

        raw = wait_until("the build is dispatched", found)
        assert raw
        self._redis.lrem(QUEUE, 1, raw)
        message: Message = json.loads(raw)
        return message

    def send(self, message: Any) -> None:
        self._redis.lpush(QUEUE, json.dumps(message))

    def close(self) -> None:
        self._redis.close()


def body_of(message: Message) -> Any:
    return json.loads(base64.b64decode(message["body"]))


def changed(message: Message, *, body: Any = None, **headers: Any) -> Message:
    """A copy under an id of its own, with another body or other headers (None: left out)."""
    copy: Message = json.loads(json.dumps(message))
    copy["headers"]["id"] = copy["properties"]["correlation_id"] = str(uuid.uuid4())
    copy["properties"]["delivery_tag"] = str(uuid.uuid4())
    for name, value in headers.items():
        copy["headers"][name] = value
        if value is None:
            del copy["headers"][name]
    if body is not None:
        copy["body"] = base64.b64encode(json.dumps(body).encode()).decode()
    return copy


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack whose workers the tests start and stop."""
    with Stack(tmp_path_factory.mktemp("stack"), BATON_QUEUE_TTL="20") as stack:
        yield stack


@pytest.fixture
def ann(stack: Stack) -> Iterator[User]:
    with User(stack) as user:
        yield user


@pytest.fixture
def broker(stack: Stack) -> Iterator[Broker]:
    broker = Broker(stack)
    yield broker
    broker.close()


#: The number 1.
PICKLED = {"body": "gASVBQAAAAAAAABLAS4=", "content-type": "application/x-python-serialize"}


@contextmanager
def worker_of(stack: Stack, concurrency: int = 1, **env: str) -> Iterator[Part]:
    worker = stack.worker(concurrency=concurrency, **env)
    try:
        yield worker
    finally:
        worker.stop(signal.SIGKILL)


def children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]


# ── who runs what ─────────────────────────────────────────────────────────────────────────────────


def test_short_builds_do_not_wait_behind_a_long_one(
    stack: Stack, ann: User, broker: Broker
) -> None:
    with worker_of(stack) as one, worker_of(stack) as other:
        long = ann.submit(steps("echo begun; sleep 1000"))
        ann.wait_for_log(long, "begun")
        busy = ann.show(long)["worker"].partition(":")[0]
        short = [ann.submit(steps("true")) for _ in range(5)]
        workers = {ann.wait_for(build_id)["worker"].partition(":")[0] for build_id in short}
        assert workers == {one.name, other.name} - {busy}
        assert broker.unacknowledged() == 0
        assert ann.show(long)["status"] == "running"
        ann.cancel(long)
        ann.wait_for(long)


def test_what_nobody_can_run_yet_waits_in_the_queue(
    stack: Stack, ann: User, broker: Broker
) -> None:
    """There any worker can take it; one that is busy holds nothing back."""
    with worker_of(stack, concurrency=2):
        long = [ann.submit(steps("echo begun; sleep 1000")) for _ in range(2)]
        for build_id in long:
            ann.wait_for_log(build_id, "begun")
        waiting = ann.submit(steps("true"))
        wait_until("it is dispatched", broker.waiting)
        assert broker.unacknowledged() == 0
        with worker_of(stack):
            assert ann.wait_for(waiting)["status"] == "succeeded"
        for build_id in long:
            ann.cancel(build_id)
        for build_id in long:
            assert ann.wait_for(build_id)["status"] == "cancelled"


def test_a_duplicated_message_runs_nothing_twice(stack: Stack, ann: User, broker: Broker) -> None:
    build_id = ann.submit(steps("echo once; sleep 2"))
    message = broker.take(build_id)
    for _ in range(3):
        broker.send(message)
    broker.send(changed(message))
    with worker_of(stack, concurrency=3) as worker:
        build = ann.wait_for(build_id)
        wait_until("all are dropped", lambda: worker.output().count("not ours to run") == 3)
        broker.send(message)  # and once more, after the end
        wait_until("it is dropped", lambda: worker.output().count("not ours to run") == 4)
        assert (build["status"], build["attempt"], build["reason"]) == ("succeeded", 1, None)
        assert ann.show(build_id) == build
        assert ann.log(build_id).count("once") == 1
        assert broker.unacknowledged() == 0


# ── messages that are not as they should be ───────────────────────────────────────────────────────


def test_rubbish_is_dropped_and_the_worker_goes_on(stack: Stack, ann: User, broker: Broker) -> None:
    build_id = ann.submit(steps("echo it ran"))
    message = broker.take(build_id)
    token = stack.seal.open(message["headers"][TOKEN_HEADER], purpose=build_id)
    _, *rest = body_of(message)

    def with_token(value: Any) -> Message:
        return changed(message, **{TOKEN_HEADER: value})

    def sealed(value: str, purpose: str = build_id) -> str:
        return stack.seal.seal(value, purpose=purpose)

    def with_args(*values: Any, **keywords: Any) -> Message:
        return changed(message, body=[list(values), keywords, *rest[1:]])

    rubbish: list[Any] = [
        with_token(None),
        with_token(""),
        with_token("rubbish"),
        with_token(token),
        with_token(sealed(token, "bld_of_another_name")),
        with_token(Seal([new_key()]).seal(token, purpose=build_id)),
        with_token(sealed("")),
        with_token(sealed("rubbish")),
        with_token(sealed(f"{token}\r\nX-Evil: 1")),
        with_token(sealed("é.é.é")),
        with_token(sealed("a." * 20000)),
        with_token(["a", "list"]),
        with_token({"a": "dict"}),
        with_token(7),
        with_args(),
        with_args(None),
        with_args(17),
        with_args(["a"]),
        with_args("../../healthz"),
        with_args(f"{build_id}/claim?x="),
        with_args("x" * 10000),
        with_args(wrong="keyword"),
        changed(message, task="baton.run_build_of_tomorrow"),
        changed(message, task=None),
        changed(message, id=None),
        changed(message, expires="2001-01-01T00:00:00+00:00"),
        changed(message, body="not a triple"),
        changed(message) | {"body": "bm90IGpzb24="},
        changed(message) | PICKLED,
        changed(message) | {"content-type": "application/x-unheard-of"},
        changed(message) | {"headers": {TOKEN_HEADER: token}},
        changed(message) | {"headers": None},
        changed(message) | {"properties": {}},
        changed(message, expires="soon"),
        changed(message, eta="2999-01-01T00:00:00+00:00"),
        changed(message, eta="soon"),
        changed(message, timelimit="long"),
        changed(message, timelimit=[1, 2, 3]),
        changed(message, timelimit=[-1, None]),
        changed(message, timelimit=["1", None]),
        {},
        [],
        "a string",
    ]  # fmt: skip
    with worker_of(stack) as worker:
        for each in rubbish:
            broker.send(each)
        wait_until("all of it is taken", lambda: not broker.waiting())
        assert ann.show(build_id)["status"] == "queued"
        broker.send(message)
        build = ann.wait_for(build_id)
        assert (build["status"], build["attempt"]) == ("succeeded", 1), build
        assert build["worker"].startswith(f"{worker.name}:")
        assert broker.unacknowledged() == 0
        assert token not in worker.output()
        assert token.rpartition(".")[2] not in worker.output()
        assert token.split(".")[1] not in worker.output()


def test_a_token_for_another_build_runs_nothing(stack: Stack, ann: User, broker: Broker) -> None:
    first, second = (ann.submit(steps("echo it ran")) for _ in range(2))
    message, other = broker.take(first), broker.take(second)
    with worker_of(stack) as worker:
        token = stack.seal.open(other["headers"][TOKEN_HEADER], purpose=second)
        sealed = stack.seal.seal(token, purpose=first)
        broker.send(changed(message, **{TOKEN_HEADER: sealed}))
        wait_until("it is dropped", lambda: "wrong-build" in worker.output())
        assert [ann.show(each)["status"] for each in (first, second)] == ["queued", "queued"]
        broker.send(message)
        broker.send(other)
        for each in (first, second):
            assert ann.wait_for(each)["status"] == "succeeded"
            assert ann.log(each).count("it ran") == 1


def test_a_forged_token_keeps_no_other_build_waiting(
    stack: Stack, ann: User, broker: Broker
) -> None:
    """It may be one whose key the API does not know yet; so it is tried for a while."""
    build_id = ann.submit(steps("echo it ran"))
    message = broker.take(build_id)
    token = stack.seal.open(message["headers"][TOKEN_HEADER], purpose=build_id)
    head, payload, signature = token.split(".")
    forged = stack.seal.seal(f"{head}.{payload}.{signature[::-1]}", purpose=build_id)
    with worker_of(stack, concurrency=2):
        broker.send(changed(message, **{TOKEN_HEADER: forged}))
        broker.send(message)
        build = ann.wait_for(build_id)
        assert (build["status"], build["attempt"]) == ("succeeded", 1)


def test_a_message_of_a_newer_api_is_understood(stack: Stack, ann: User, broker: Broker) -> None:
    build_id = ann.submit(steps("echo it ran"))
    message = broker.take(build_id)
    args, kwargs, options = body_of(message)
    newer = changed(
        message, body=[[*args, "more"], kwargs | {"priority": 7}, options], baton_trace="00-0af7"
    )
    with worker_of(stack) as worker:
        broker.send(newer)
        assert ann.wait_for(build_id)["status"] == "succeeded"
        assert "unknown arguments ignored: 2" in worker.output()


# ── children that die ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("sandbox", ["process", "bubblewrap"])
def test_a_killed_pool_process_costs_an_attempt_and_leaves_no_process(
    stack: Stack, ann: User, sandbox: str
) -> None:
    if sandbox == "bubblewrap":
        needs("bwrap")
    marker = f"8639{os.getpid() % 10}.{'25' if sandbox == 'process' else '75'}"
    with worker_of(stack, concurrency=2, BATON_SANDBOX=sandbox) as worker:
        build_id = ann.submit(
            steps(
                'echo "attempt $BATON_ATTEMPT"; [ "$BATON_ATTEMPT" = 2 ] || '
                f"{{ (setsid sleep {marker} &); sleep {marker}; }}"
            )
        )
        ann.wait_for_log(build_id, "attempt 1")
        wait_until("the tree is there", lambda: len(alive(marker)) >= 2)
        host, _, child = ann.show(build_id)["worker"].rpartition(":")
        assert host == worker.name
        assert int(child) in children(worker.pid)
        os.kill(int(child), signal.SIGKILL)
        wait_until("nothing of it is left", lambda: not alive(marker))
        build = ann.wait_for(build_id)
        assert (build["status"], build["attempt"]) == ("succeeded", 2)
        assert worker.process and worker.process.poll() is None

        # Both slots are there again.
        both = [ann.submit(steps("echo begun; sleep 1000")) for _ in range(2)]
        for each in both:
            ann.wait_for_log(each, "begun")
        for each in both:
            ann.cancel(each)
        for each in both:
            assert ann.wait_for(each)["status"] == "cancelled"


def test_celerys_hard_limit_is_a_fence_that_leaves_nothing(
    stack: Stack, ann: User, broker: Broker
) -> None:
    marker = "86381.25"
    build_id = ann.submit(
        steps(
            'echo "attempt $BATON_ATTEMPT"; [ "$BATON_ATTEMPT" = 2 ] || '
            f"{{ trap '' TERM; (setsid sleep {marker} &); sleep {marker}; }}"
        )
    )
    message = broker.take(build_id)
    broker.send(changed(message, timelimit=[3, None]))
    with worker_of(stack):
        ann.wait_for_log(build_id, "attempt 1")
        build = ann.wait_for(build_id)
        assert (build["status"], build["attempt"]) == ("succeeded", 2)
        assert [each["reason"] for each in build["attempts"]] == ["worker_lost"]
        assert not alive(marker)


# ── side by side ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("sandbox", ["process", "bubblewrap"])
def test_builds_at_the_same_time_have_nothing_in_common(
    stack: Stack, ann: User, sandbox: str
) -> None:
    """In bubblewrap: not even to be found. In `process`: a place of their own, not to be listed."""
    if sandbox == "bubblewrap":
        needs("bwrap")
    leave = 'for place in . "$HOME" "$TMPDIR"; do echo x > "$place/left-by-the-other"; done'
    hunt = (
        'ls -A . "$HOME" "$TMPDIR"; echo; ls /tmp/baton-*/ || true; '
        "find / -name left-by-the-other 2>/dev/null || true; echo hunted"
    )
    with worker_of(stack, concurrency=2, BATON_SANDBOX=sandbox):
        first = ann.submit(steps(f"{leave}; echo left; sleep 1000"))
        ann.wait_for_log(first, "left")
        second = ann.run(steps(hunt))
        assert second["status"] == "succeeded"
        log = ann.log(second["id"])
        assert "hunted" in log
        assert "left-by-the-other" not in log.replace("find: ", "")
        ann.cancel(first)
        ann.wait_for(first)
