"""The storm's own judgement: that its plan hangs on the seed alone, and that it sees bad logs."""

import pytest

from chaos import logs
from chaos.plan import Ending, FaultKind, Job, plan

BETWEEN = b"\n[attempt 1 ended: its worker fell silent; the build starts again]\n"


def job(ending: Ending = Ending.COUNT) -> Job:
    return Job(
        number=0,
        user="ann",
        at=0,
        ending=ending,
        lines=3,
        pause=0,
        cancel_after=0,
        followed=False,
    )


def test_the_same_seed_makes_the_same_plan_and_another_one_another() -> None:
    def of(seed: int) -> object:
        return plan(seed, seconds=60, builds=50, workers=3, replicas=2)

    assert of(7) == of(7)
    assert of(7) != of(8)


def test_a_long_storm_has_every_fault() -> None:
    faults = plan(1, seconds=140, builds=1, workers=4, replicas=2).faults
    assert {fault.kind for fault in faults} == set(FaultKind)


@pytest.mark.parametrize(
    ("log", "last", "ending"),
    [
        (b"==> count\n<1:0>\n<1:1>\n<1:2>\n", 1, Ending.COUNT),
        (
            b"==> count\n<1:0>\n<1:1" + BETWEEN + b"==> count\n<2:0>\n<2:1>\n<2:2>\n",
            2,
            Ending.COUNT,
        ),
        (BETWEEN + b"==> count\n<3:0>\n<3:1>\n<3:2>\n", 3, Ending.LEAVE),
        (b"==> count\n<1:0>\n<1:1>\n<1:2>\n[step 'count' exited with 3]\n", 1, Ending.FAIL),
        (b"==> count\n<1:0>\n[the build was cancelled]\n", 1, Ending.CANCEL),
        (b"==> count\n<1:0>\n" + BETWEEN, 1, Ending.CANCEL),
        (b"", 0, Ending.CANCEL),
    ],
)
def test_a_log_of_whole_attempts_is_fine(log: bytes, last: int, ending: Ending) -> None:
    assert logs.fault_in(log, job(ending), last=last) is None


@pytest.mark.parametrize(
    ("log", "last", "what"),
    [
        (b"==> count\n<1:0>\n<1:2>\n", 1, "a gap"),
        (b"==> count\n<1:0>\n<1:0>\n<1:1>\n<1:2>\n", 1, "a repeat"),
        (b"==> count\n<1:0>\n<1:1>\n", 1, "an early end"),
        (b"", 1, "nothing at all"),
        (b"==> count\n<2:0>\n<2:1>\n<2:2>\n", 1, "another attempt's lines"),
        (
            b"==> count\n<1:1>\n" + BETWEEN + b"==> count\n<2:0>\n<2:1>\n<2:2>\n",
            2,
            "a gap at first",
        ),
        (b"==> count\n" + BETWEEN + b"==> count\n<1:0>\n<1:1>\n<1:2>\n", 1, "an attempt twice"),
        (b"==> count\n<1:0>\n<1:1>\n<1:2>\nstolen", 1, "a stranger's words"),
    ],
)
def test_a_log_with_a_fault_is_seen(log: bytes, last: int, what: str) -> None:
    assert logs.fault_in(log, job(), last=last), what
