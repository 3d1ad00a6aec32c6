"""The queue position tells why a queued build waits, behind how many others, and for how long."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from app.builds.store.queue_reader import QueueReader, Wait
from app.contract.builds import QueueView, WaitReason
from app.contract.status import Reason

#: Seconds that a message may lie in the queue before its build is said to wait for workers.
_WORKER_SILENCE_TIMEOUT: Final = 5.0

#: Builds that must have run before a waiting time is estimated.
_MIN_RUNS_FOR_ESTIMATE: Final = 3

_PROVIDER: Final = (Reason.NO_TOKEN, Reason.TOKEN_REFUSED)


@dataclass(frozen=True, kw_only=True, slots=True)
class QueueRules:
    """The limits of dispatch that a waiting time follows from."""

    user_limit: int  #: builds of one user, dispatched or running
    window: int  #: messages waiting for workers at most
    queue_ttl: float  #: seconds that a message may wait


class QueuePositions:
    """`QueuePositions` reads where a build stands, and puts it into words."""

    def __init__(self, reader: QueueReader, rules: QueueRules) -> None:
        self._reader = reader
        self._rules = rules

    async def of(self, owner: str, build_id: str) -> QueueView:
        """Return the position of a queued build. Raises `StoreUnavailable`."""
        return explain(await self._reader.read(owner, build_id), self._rules)


def explain(wait: Wait, rules: QueueRules) -> QueueView:
    """Return a build's position, waiting time and reason to wait, as a person should read them."""
    why, message = _why(wait, rules)
    ahead = _ahead(wait)
    return QueueView(
        why=why,
        message=message,
        position=ahead + 1,
        ahead_own=wait.rank or 0,
        estimate=_estimate(wait, why, ahead, rules),
        worker_seen_at=_time(wait.worker_seen),
        next_try_at=_time(wait.retry_at),
    )


def _ahead(wait: Wait) -> int:
    """Return how many builds begin before this one, as far as the queue stands now.

    Users take turns: before the n-th build of one user, every other user has had about n.
    """
    if wait.dispatched_rank is not None:
        return wait.dispatched_rank
    if wait.rank is None:
        return wait.dispatched
    turns = wait.rank * max(1, wait.users) + (wait.turn or 0)
    return min(wait.dispatched + turns, max(0, wait.queued - 1))


def _why(wait: Wait, rules: QueueRules) -> tuple[WaitReason, str]:
    if wait.retry_at is not None or wait.reason:
        return _refused(wait)
    if wait.dispatched_rank is not None:
        return _dispatched(wait, rules)
    if wait.active >= rules.user_limit:
        builds = f"{wait.active} builds" if wait.active != 1 else "1 build"
        return (
            WaitReason.USER_LIMIT,
            f"You have {builds} under way, the most at once here; it begins when one of them ends.",
        )
    if wait.dispatched >= rules.window:
        if not wait.running and _silent(wait):
            return WaitReason.NO_WORKER, _no_worker(wait)
        return WaitReason.TURN, "The builds of others come first; users take turns."
    return WaitReason.STARTING, "It is about to be handed to a worker."


def _refused(wait: Wait) -> tuple[WaitReason, str]:
    again = ""
    if wait.retry_at is not None and wait.retry_at > wait.now:
        again = f" It is tried again in {max(1, round(wait.retry_at - wait.now))} s."
    detail = f" ({wait.message})" if wait.message else ""
    if wait.reason == Reason.BROKER_UNAVAILABLE:
        return WaitReason.BROKER, f"The way to the workers is interrupted{detail}.{again}"
    if wait.reason in _PROVIDER:
        return WaitReason.PROVIDER, f"The identity provider gave no token for it{detail}.{again}"
    return WaitReason.STARTING, f"It is about to be handed to a worker.{again}"


def _dispatched(wait: Wait, rules: QueueRules) -> tuple[WaitReason, str]:
    if wait.claim_by is None or not wait.sent:
        return WaitReason.STARTING, "Its token is being fetched."
    if wait.now - (wait.claim_by - rules.queue_ttl) < _WORKER_SILENCE_TIMEOUT:
        return WaitReason.STARTING, "It is on its way to a worker."
    if wait.running:
        running = "1 build" if wait.running == 1 else f"{wait.running} builds"
        return WaitReason.WORKERS_BUSY, f"All workers are busy: they run {running}."
    return WaitReason.NO_WORKER, _no_worker(wait)


def _silent(wait: Wait) -> bool:
    """Return whether no worker has called for longer than a worker that runs builds ever pauses."""
    return wait.worker_seen is None or wait.now - wait.worker_seen > _WORKER_SILENCE_TIMEOUT


def _no_worker(wait: Wait) -> str:
    if wait.worker_seen is None:
        return "No worker has been seen here yet: is one running?"
    return f"No worker takes builds: the last sign of one was {_ago(wait.now - wait.worker_seen)}."


def _ago(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size:.0f} {unit} ago"
    return f"{max(0, seconds):.0f} s ago"


def _estimate(wait: Wait, why: WaitReason, ahead: int, rules: QueueRules) -> float | None:
    """Return the seconds to wait, by Little's law: builds ahead, times the mean run time, over the
    builds that run at once.

    None where no estimate holds: too few builds ran lately, or the build waits for something other
    than the end of other builds.
    """
    if why is WaitReason.STARTING:
        return 0.0
    if why in {WaitReason.PROVIDER, WaitReason.BROKER, WaitReason.NO_WORKER}:
        return None
    if wait.mean_run is None or wait.runs < _MIN_RUNS_FOR_ESTIMATE:
        return None
    if why is WaitReason.USER_LIMIT:
        return ((wait.rank or 0) + 1) * wait.mean_run / max(1, min(rules.user_limit, wait.active))
    return (ahead + 1) * wait.mean_run / max(1, wait.running)


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
