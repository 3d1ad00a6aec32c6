"""Whether a build's log is exactly what its attempts printed: every byte, once, in order."""

import re
from collections.abc import Iterator
from typing import Final

from chaos.plan import STEP, Ending, Job

_BETWEEN: Final = re.compile(rb"\n\[attempt (\d+) ended: [^\n]*; the build starts again\]\n")
#: The worker's own last line of an attempt that did not simply succeed.
_NOTE: Final = re.compile(rb"\[(step|the build) [^\n]*\]\n\Z")


def attempts(log: bytes, last: int) -> Iterator[tuple[int, bytes]]:
    """The number of each attempt and what it printed; `last` is the number of the last one."""
    parts = _BETWEEN.split(log)
    yield from zip(map(int, parts[1::2]), parts[::2], strict=False)
    yield last, parts[-1]


def printed(job: Job, attempt: int) -> bytes:
    """All that an undisturbed attempt prints, the worker's notes aside."""
    lines = b"".join(b"<%d:%d>\n" % (attempt, line) for line in range(job.lines))
    return b"==> %s\n" % STEP.encode() + lines


def fault_in(log: bytes, job: Job, *, last: int) -> str | None:
    """What is wrong with the log of a build that has ended as planned, in words; None if nothing.

    An attempt that was lost has printed the beginning of what it would have. The last one of a
    build that succeeded or failed by itself has printed everything.
    """
    before = 0
    for attempt, text in attempts(log, last):
        if not text and job.ending is Ending.CANCEL:
            continue  # cancelled before it began again, or at all
        if not before < attempt:
            return f"attempt {attempt} stands after attempt {before}"
        before = attempt
        whole = printed(job, attempt)
        said = _NOTE.sub(b"", text)
        if not whole.startswith(said):
            return f"attempt {attempt}: {_difference(whole, said)}"
        complete = attempt == last and job.ending in {Ending.COUNT, Ending.LEAVE, Ending.FAIL}
        if complete and said != whole:
            return f"attempt {attempt} ends early: {said[-60:]!r}"
        if attempt == last and job.ending is Ending.FAIL and said == text:
            return f"attempt {attempt} failed without a word"
    return None


def _difference(whole: bytes, said: bytes) -> str:
    at = next((n for n, (a, b) in enumerate(zip(whole, said, strict=False)) if a != b), len(whole))
    return f"at byte {at} {said[at : at + 40]!r} instead of {whole[at : at + 40]!r}"
