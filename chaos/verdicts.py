"""What must be true after a storm, and the table that says whether it is."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from app.contract.status import Reason, Status
from chaos import logs
from chaos.faults import Done
from chaos.plan import Ending, FaultKind, Job
from chaos.users import Accepted
from chaos.witness import Witness

#: How a build ends, whatever happened to the parts meanwhile.
_PLANNED: Final = {
    Ending.COUNT: (Status.SUCCEEDED, None),
    Ending.LEAVE: (Status.SUCCEEDED, None),
    Ending.FAIL: (Status.FAILED, Reason.STEP_FAILED),
    Ending.SLOW: (Status.TIMED_OUT, Reason.STEP_TIMED_OUT),
    Ending.CANCEL: (Status.CANCELLED, Reason.CANCELLED),
}
#: Details of each bad thing that are printed.
_SHOWN: Final = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """A line of the table: a number, or for a bad thing, all that was found."""

    name: str
    value: str
    bad: Sequence[str] = ()


def good(name: str, value: object) -> Column:
    return Column(name=name, value=str(value))


def bad(name: str, found: Sequence[str]) -> Column:
    return Column(name=name, value=str(len(found)), bad=found)


def table(columns: Sequence[Column]) -> str:
    """Text: each column's name and value, and what is behind the bad ones."""
    width = max(len(column.name) for column in columns)
    lines = []
    for column in columns:
        lines.append(f"  {column.name:{width}}  {column.value}{'   ← BAD' if column.bad else ''}")
        lines += [f"      {detail}" for detail in column.bad[:_SHOWN]]
        if len(column.bad) > _SHOWN:
            lines.append(f"      … and {len(column.bad) - _SHOWN} more")
    return "\n".join(lines)


def of_builds(
    accepted: Sequence[Accepted], witness: Witness, followed: Mapping[str, bytes]
) -> Iterator[Column]:
    """The columns about builds and their logs."""
    jobs = {each.build_id: each.job for each in accepted}
    ended = {build_id: job for build_id, job in jobs.items() if build_id in witness.ends}
    statuses = Counter(witness.ends[each].record[b"status"].decode() for each in ended)
    yield good("builds accepted", len(accepted))
    yield good("ended", f"{len(ended)} ({', '.join(f'{n} {s}' for s, n in statuses.items())})")
    yield bad(
        "lost",
        [
            f"{build_id}: {job.ending}, last seen: {witness.sights[build_id][-1:]}"
            for build_id, job in jobs.items()
            if build_id not in ended
        ],
    )
    yield bad("ended twice", [f"{each}: {what}" for each, what in witness.changed.items()])
    yield bad(
        "made twice",
        [f"{each}: nobody was told of it" for each in witness.ends.keys() - jobs.keys()],
    )
    yield bad(
        "ended otherwise than planned",
        [
            f"{each}: {wrong}"
            for each, job in ended.items()
            if (wrong := _wrong_end(job, witness.ends[each].record))
        ],
    )
    yield bad("logs with a gap or repeat", list(_log_faults(ended, witness, followed)))


def _wrong_end(job: Job, record: Mapping[bytes, bytes]) -> str | None:
    status, reason = _PLANNED[job.ending]
    found = record[b"status"].decode(), record.get(b"reason", b"").decode()
    if found == (status, reason or ""):
        return None
    message = record.get(b"message", b"").decode()
    return f"{job.ending} ended as {found[0]} ({found[1] or 'no reason'}: {message})"


def _log_faults(
    ended: Mapping[str, Job], witness: Witness, followed: Mapping[str, bytes]
) -> Iterator[str]:
    for build_id, job in ended.items():
        end = witness.ends[build_id]
        last = int(end.record.get(b"attempt", 0))
        wrong = logs.fault_in(end.log, job, last=last)
        if wrong:
            yield f"{build_id} ({job.ending}): {wrong}"
        digest = end.record.get(b"log_sha256", b"").decode()
        start = int(end.record.get(b"log_start", 0))
        if digest and hashlib.sha256(end.log[start:]).hexdigest() != digest:
            yield f"{build_id}: the log is not the one that its worker reported"
        if followed.get(build_id, end.log) != end.log:
            yield f"{build_id}: a follower read {followed[build_id][-80:]!r} at its end"


def of_faults(done: Sequence[Done], witness: Witness) -> Iterator[Column]:
    """The columns about recovery, one for each kind of fault and the worst of all."""
    kinds = Counter(each.fault.kind for each in done)
    slowest = sorted(done, key=lambda each: each.recovery(witness))
    worst = {each.fault.kind: each.recovery(witness) for each in slowest}
    yield good("faults", len(done))
    for kind in FaultKind:
        if kind in worst:
            yield good(f"  {kind}", f"{kinds[kind]} times, recovered in {worst[kind]:.1f} s")
    never = [each for each in done if each.recovery(witness) == float("inf")]
    yield bad("faults without recovery", [_words(each) for each in never])
    last = f": {_words(slowest[-1])}" if slowest else ""
    yield good(
        "worst time from fault to recovery", f"{max(worst.values(), default=0.0):.1f} s{last}"
    )


def _words(done: Done) -> str:
    hit = f", which hit {', '.join(done.hit)}" if done.hit else ""
    return f"{done.fault.kind} at {done.fault.at:.1f} s{hit}, canary {done.canary}"
