"""All of Redis compared with the model: what has to be there, and that there is nothing else."""

import re
from collections.abc import Iterator
from typing import Any

from redis import Redis

from app.builds.store import keys
from tests.seams.protocol_model import Model, ModelBuild

#: Seconds by which a time in Redis may differ from the model's, on a slow machine.
SLACK = 450
AGAIN = re.compile(rb"\n\[attempt \d+ ended: [^\n]+; the build starts again\]\n\Z")


#: What users see of a record.
SHOWN = (
    b"status", b"reason", b"message", b"commit", b"steps", b"attempt", b"attempts", b"worker",
    b"started", b"finished", b"cancel_at", b"cancel_by", b"log_sha256", b"token",
)  # fmt: skip


def check_contents(model: Model, raw: "Redis", before: dict[str, dict[bytes, bytes]]) -> None:
    """`before` keeps the records as they were when last seen."""
    seconds, microseconds = raw.time()
    now = seconds + microseconds / 1e6
    found = _contents(raw)
    found.pop("turn", None)
    found.pop("pace", None)
    _check_counts(model, found.pop("counts", {}))
    turns = {owner.decode() for owner in found.pop("turns", {})}
    waiting = {build.owner for build in model.builds.values() if build.in_queue}
    assert model.eligible().keys() <= turns <= waiting
    for name in [name for name in found if name.startswith("idempotency:")]:
        assert raw.pttl(keys.PREFIX + name) > 0
        del found[name]

    expected: dict[str, set[str]] = {}
    for build in model.builds.values():
        _check_build(build, now - model.now, found, before)
        for name in _memberships(build):
            expected.setdefault(name, set()).add(build.id)
    # Every set holds exactly the builds that belong there, and there is nothing else.
    assert {
        name: {member.decode() for member in members} for name, members in found.items()
    } == expected


def _check_counts(model: Model, counts: dict[bytes, bytes]) -> None:
    """Each build was counted when it was submitted, and once when it ended."""
    ended = sum(int(value) for name, value in counts.items() if name.startswith(b"ended:"))
    open_ones = sum(not build.status.final for build in model.builds.values())
    assert int(counts.get(b"submitted", 0)) - ended == open_ones


def _check_build(
    build: ModelBuild,
    began: float,
    found: dict[str, Any],
    before: dict[str, dict[bytes, bytes]],
) -> None:
    """`began`: the store's time at the model's zero, in seconds since 1970."""
    record = found.pop(f"build:{build.id}")
    log = found.pop(f"log:{build.id}", b"")
    if build.again:
        assert log.startswith(build.log) and AGAIN.fullmatch(log, len(build.log))
        build.log, build.again = log, False
    assert log == build.log
    assert record[b"status"].decode() == build.status
    assert record[b"owner"].decode() == build.owner
    assert int(record.get(b"attempt", 0)) == build.attempt
    assert _text(record, b"lease_id") == build.lease_id
    assert _text(record, b"phase") == build.phase
    assert _text(record, b"take") == (str(build.take) if build.take else None)
    assert (b"cancel_at" in record) == build.cancel
    _check_version(build, record, before.get(build.id, {}))
    assert found[f"changes:{build.owner}"][build.id.encode()] == int(record[b"version"])
    before[build.id] = record
    for name, until in build.due.items():
        score = found[name][build.id.encode()]
        assert abs(score / 1000 - began - until) < SLACK, name


def _check_version(
    build: ModelBuild, record: dict[bytes, bytes], before: dict[bytes, bytes]
) -> None:
    """Whoever follows a build hears of what changed; one that has ended does not change."""
    if before.get(b"status", b"").decode() == build.status and build.status.final:
        assert record == before
    if any(record.get(name) != before.get(name) for name in SHOWN):
        assert int(record[b"version"]) > int(before.get(b"version", 0))


def _text(record: dict[bytes, bytes], name: bytes) -> str | None:
    return record[name].decode() if name in record else None


def _memberships(build: ModelBuild) -> Iterator[str]:
    yield f"changes:{build.owner}"
    yield f"index:{build.owner}:all"
    yield f"index:{build.owner}:{build.status}"
    if build.in_queue:
        yield f"queue:{build.owner}"
    if build.active:
        yield f"active:{build.owner}"
    yield from build.due


def _contents(raw: "Redis") -> dict[str, Any]:
    """All of Redis, by the keys' names behind the prefix."""
    names: list[Any] = list(raw.keys("*"))
    pipe = raw.pipeline(transaction=False)
    for name in names:
        kind = name.removeprefix(keys.PREFIX.encode()).partition(b":")[0]
        if kind in {b"build", b"counts", b"idempotency", b"pace"}:
            pipe.hgetall(name)
        elif kind in {b"log", b"turn"}:
            pipe.get(name)
        elif kind == b"active":
            pipe.smembers(name)
        else:
            pipe.zrange(name, 0, -1, withscores=True)
    values = pipe.execute() if names else []
    return {
        name.decode().removeprefix(keys.PREFIX): dict(value) if isinstance(value, list) else value
        for name, value in zip(names, values, strict=True)
    }
