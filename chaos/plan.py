"""What a seed decides: which builds, when, by whom, and which faults.

The same seed, length and number of builds make the same plan. What the proxy does to a call hangs
on the seed, too (`proxy.py`). How the machine interleaves it all is in nobody's hands: a seed that
failed goes through the same plan again, and fails again in most runs, but maybe not in each.
"""

from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Any, Final

USERS: Final = ("ann", "bob", "cleo", "dan", "eve")
#: Submits one build after each fault, to see how long the service takes to be itself again.
CANARY: Final = "canary"

#: Seconds that no process of anybody else sleeps; a build's number goes where the zeros are.
MARK: Final = 7_000_000_000_000

STEP: Final = "count"


class Ending(StrEnum):
    """How a build is made to end."""

    COUNT = "count"  #: counts to its number, and succeeds
    LEAVE = "leave"  #: the same, and leaves processes behind that ignore SIGTERM
    FAIL = "fail"  #: counts, and fails
    SLOW = "slow"  #: counts, and goes on until its step's time is up
    CANCEL = "cancel"  #: counts, and goes on until its user cancels it


class FaultKind(StrEnum):
    KILL_WORKER = "kill -9 a worker"
    KILL_POOL_PROCESS = "kill -9 a pool process"
    STOP_WORKER = "stop a worker"
    FREEZE_WORKER = "freeze a worker"
    KILL_API = "kill -9 an API replica"
    RESTART_API = "restart an API replica"
    KILL_REDIS = "kill -9 Redis"
    RESTART_REDIS = "restart Redis"
    RESTART_ISSUER = "restart the issuer"
    PURGE_QUEUE = "purge the queue"
    DUPLICATE_MESSAGES = "duplicate messages"
    BLACKOUT = "API out of reach"


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A build to be submitted."""

    number: int
    user: str
    at: float  #: seconds after the begin
    ending: Ending
    lines: int
    pause: float  #: seconds between two lines
    cancel_after: float  #: seconds after its submission; for `Ending.CANCEL`
    followed: bool  #: whether its user follows the log

    def spec(self, run: int) -> dict[str, Any]:
        """What is submitted in the storm number `run`, which marks its processes."""
        mark = MARK + run * 10_000 + self.number
        count = (
            f'i=0; while [ $i -lt {self.lines} ]; do echo "<$BATON_ATTEMPT:$i>"; i=$((i+1)); '
            f"sleep {self.pause}; done"
        )
        left = f"(setsid sh -c 'trap \"\" TERM; sleep {mark}; :' &); sleep {mark} &"
        scripts = {
            Ending.COUNT: count,
            Ending.LEAVE: f"{left}\n{count}",
            Ending.FAIL: f"{count}\nexit 3",
            Ending.SLOW: f"{count}\nsleep {mark}",
            Ending.CANCEL: f"{left}\n{count}\nsleep {mark}",
        }
        step: dict[str, Any] = {"name": STEP, "run": scripts[self.ending]}
        if self.ending is Ending.SLOW:
            step["timeout"] = 2
        return {"steps": [step], "env": {"CHAOS_RUN": str(run)}, "labels": {"n": str(self.number)}}


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    number: int
    kind: FaultKind
    at: float  #: seconds after the begin
    target: int  #: which worker, or replica, counted from 0
    seconds: float  #: how long it lasts


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    seed: int
    jobs: tuple[Job, ...]
    faults: tuple[Fault, ...]


#: Seconds that a fault lasts, at least and at most; where it is not named, the first of all.
_LASTING: Final[dict[FaultKind, tuple[float, float]]] = {
    FaultKind.FREEZE_WORKER: (2.0, 6.0),
    FaultKind.BLACKOUT: (0.5, 5.0),
    FaultKind.RESTART_ISSUER: (0.5, 3.0),
}
_BRIEF: Final = (0.1, 1.5)

_ENDINGS: Final = {
    Ending.COUNT: 60, Ending.LEAVE: 12, Ending.FAIL: 10, Ending.SLOW: 6, Ending.CANCEL: 12,
}  # fmt: skip


def plan(seed: int, *, seconds: float, builds: int, workers: int, replicas: int) -> Plan:
    """The storm of `seed`; `builds` are submitted in the first part of its `seconds`."""
    # Kinds are drawn from shuffled rounds, so that each comes before any comes a third time.
    dice = Random(f"{seed}/faults")
    faults: list[Fault] = []
    kinds: list[FaultKind] = []
    at = min(2.0, seconds / 10)
    while at < seconds:
        if not kinds:
            kinds = dice.sample(list(FaultKind), len(FaultKind))
        kind = kinds.pop()
        faults.append(
            Fault(
                number=len(faults),
                kind=kind,
                at=round(at, 3),
                target=dice.randrange(replicas if kind.endswith("replica") else workers),
                seconds=round(dice.uniform(*_LASTING.get(kind, _BRIEF)), 3),
            )
        )
        at += dice.uniform(0.5, 3.5)
    return Plan(seed=seed, jobs=_jobs(seed, seconds * 0.8, builds), faults=tuple(faults))


def _jobs(seed: int, seconds: float, builds: int) -> tuple[Job, ...]:
    dice = Random(f"{seed}/jobs")
    moments = sorted(dice.uniform(0, seconds) for _ in range(builds))
    return tuple(
        Job(
            number=number,
            user=dice.choice(USERS),
            at=round(at, 3),
            ending=dice.choices(list(_ENDINGS), list(_ENDINGS.values()))[0],
            lines=dice.randint(3, 30),
            pause=dice.choice((0, 0.02, 0.05, 0.1)),
            cancel_after=round(dice.uniform(0, 4), 3),
            followed=dice.random() < 1 / 12,
        )
        for number, at in enumerate(moments)
    )


def canary(number: int) -> Job:
    """The build that is submitted right after a fault."""
    return Job(
        number=number,
        user=CANARY,
        at=0,
        ending=Ending.COUNT,
        lines=1,
        pause=0,
        cancel_after=0,
        followed=False,
    )
