"""Why a queued build waits, behind how many, and for about how long."""

from dataclasses import replace

import pytest

from app.builds.queue_position import QueueRules, explain
from app.builds.store.queue_reader import Wait
from app.contract.builds import WaitReason

RULES = QueueRules(user_limit=2, window=4, queue_ttl=600)

#: The only build, just submitted.
ALONE = Wait(
    now=1000.0,
    reason="",
    message="",
    rank=0,
    turn=0,
    users=1,
    queued=1,
    dispatched=0,
    dispatched_rank=None,
    claim_by=None,
    sent=False,
    retry_at=None,
    active=0,
    running=0,
    mean_run=60.0,
    runs=10,
    worker_seen=990.0,
)
#: Its message lies in the queue since a minute.
SENT = replace(
    ALONE, rank=None, turn=None, dispatched=1, dispatched_rank=0, sent=True, claim_by=1540.0
)


def test_one_alone_is_about_to_begin() -> None:
    queue = explain(ALONE, RULES)
    assert (queue.why, queue.position, queue.estimate) == (WaitReason.STARTING, 1, 0.0)


def test_one_at_the_limit_of_its_user_waits_for_that_users_builds() -> None:
    queue = explain(replace(ALONE, rank=3, queued=4, active=2, running=2), RULES)
    assert queue.why is WaitReason.USER_LIMIT
    assert "2 builds under way" in queue.message
    assert (queue.ahead_own, queue.estimate) == (3, 4 * 60 / 2)


def test_users_take_turns_in_its_place() -> None:
    wait = replace(
        ALONE, rank=2, turn=1, users=3, queued=50, dispatched=4, running=10, worker_seen=999.0
    )
    queue = explain(wait, RULES)
    assert queue.why is WaitReason.TURN
    assert queue.position == 4 + 2 * 3 + 1 + 1
    assert queue.estimate == 12 * 60 / 10


def test_its_place_is_never_behind_all_that_wait() -> None:
    assert explain(replace(ALONE, rank=2, users=5, queued=4), RULES).position == 4


def test_a_message_that_nobody_takes_says_when_a_worker_was_seen() -> None:
    queue = explain(replace(SENT, worker_seen=400.0), RULES)
    assert (queue.why, queue.estimate) == (WaitReason.NO_WORKER, None)
    assert "10 min ago" in queue.message
    assert queue.worker_seen_at is not None and queue.worker_seen_at.timestamp() == 400


def test_without_any_worker_ever_it_asks_for_one() -> None:
    assert "is one running?" in explain(replace(SENT, worker_seen=None), RULES).message


def test_a_message_behind_running_builds_waits_for_a_worker() -> None:
    queue = explain(replace(SENT, dispatched_rank=2, dispatched=3, queued=3, running=6), RULES)
    assert queue.why is WaitReason.WORKERS_BUSY
    assert (queue.position, queue.estimate) == (3, 3 * 60 / 6)


def test_a_message_that_was_just_sent_is_on_its_way() -> None:
    assert explain(replace(SENT, claim_by=1599.0), RULES).why is WaitReason.STARTING


@pytest.mark.parametrize(
    ("reason", "why"),
    [
        ("no_token", WaitReason.PROVIDER),
        ("token_refused", WaitReason.PROVIDER),
        ("broker_unavailable", WaitReason.BROKER),
    ],
)
def test_what_failed_is_named_with_the_time_of_the_next_try(reason: str, why: WaitReason) -> None:
    wait = replace(ALONE, reason=reason, message="it said 503", rank=None, retry_at=1012.0)
    queue = explain(wait, RULES)
    assert (queue.why, queue.estimate) == (why, None)
    assert "it said 503" in queue.message and "12 s" in queue.message
    assert queue.next_try_at is not None and queue.next_try_at.timestamp() == 1012


def test_nobody_guesses_from_too_few_builds() -> None:
    busy = replace(SENT, running=6, runs=2)
    assert explain(busy, RULES).estimate is None
    assert explain(replace(busy, mean_run=None, runs=0), RULES).estimate is None
