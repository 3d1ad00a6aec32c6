"""What the store's scripts must do, said once more in plain Python: one build at a time, no Redis.

Times are seconds of the model's own clock, which moves only by jumps of whole thousands. Every
period is half a thousand off, so that the seconds which a test really takes, on however slow a
machine, never decide what is overdue.
"""

from dataclasses import dataclass, field

from app.builds import errors
from app.builds.store.results import Taken
from app.contract.status import Status

HOLD, QUEUE_TTL, LEASE, TIMEOUT, AFTER_TIMEOUT = 6500, 60500, 3500, 6000, 6500
MAX_WAIT, RETENTION, DELAY = 360500, 720500, 1500
WINDOW, USER_LIMIT, MAX_ATTEMPTS, LOG_LIMIT = 3, 2, 2, 12

Refusal = type[errors.BuildError] | None


@dataclass
class ModelBuild:
    id: str
    owner: str
    status: Status = Status.QUEUED
    phase: str | None = None
    take: int | None = None
    attempt: int = 0
    token_id: str | None = None
    nonce: str | None = None
    lease_id: str | None = None
    losses: int = 0
    cancel: bool = False
    digest: str | None = None
    log: bytes = b""
    log_start: int = 0
    again: bool = False  #: a line of the store's own is about to stand in the log
    #: Until when it stands in which of the store's timed sets.
    due: dict[str, int] = field(default_factory=dict)

    @property
    def in_queue(self) -> bool:
        return self.status is Status.QUEUED and not {"dispatched", "delayed"} & self.due.keys()

    @property
    def active(self) -> bool:
        return "dispatched" in self.due or self.status is Status.RUNNING


class Model:
    def __init__(self) -> None:
        self.now = 0
        self.builds: dict[str, ModelBuild] = {}
        self.keys: dict[tuple[str, str], tuple[str, str]] = {}

    # ── users and dispatch ────────────────────────────────────────────────────────────────────

    def known(self, owner: str, key: str) -> tuple[str, str] | None:
        """The build and body that an Idempotency-Key stands for."""
        found = self.keys.get((owner, key))
        return found if found and found[0] in self.builds else None

    def submit(self, build_id: str, owner: str, key: str | None, body: str) -> None:
        self.builds[build_id] = ModelBuild(
            build_id, owner, due={"waiting": self.now + MAX_WAIT}
        )  # fmt: skip
        if key is not None:
            self.keys[owner, key] = (build_id, body)

    def cancel(self, build_id: str, owner: str) -> Refusal:
        build = self.builds.get(build_id)
        if build is None or build.owner != owner:
            return errors.NotFound
        if build.status is Status.CANCELLED:
            return None
        if build.status.final:
            return errors.NotCancellable
        build.cancel = True
        if build.status is Status.QUEUED:
            self._end(build, Status.CANCELLED)
        return None

    def eligible(self) -> dict[str, str]:
        """Owners who may have a turn, and which of their builds it is."""
        found: dict[str, str] = {}
        for build in self.builds.values():
            mine = [other for other in self.builds.values() if other.owner == build.owner]
            if build.in_queue and sum(other.active for other in mine) < USER_LIMIT:
                found[build.owner] = min(found.get(build.owner, build.id), build.id)
        return found

    def full(self) -> bool:
        return sum("dispatched" in build.due for build in self.builds.values()) >= WINDOW

    def taken(self, taken: Taken) -> None:
        build = self.builds[taken.build_id]
        build.phase, build.take = "minting", taken.take
        build.due["dispatched"] = self.now + HOLD

    def sent(self, taken: Taken, token_id: str) -> bool | Refusal:
        build = self.builds.get(taken.build_id)
        if build is None or build.status is not Status.QUEUED or build.take != taken.take:
            return False
        if build.phase == "sent":
            return build.token_id == token_id
        if build.token_id == token_id:
            return errors.SameToken
        if build.due["dispatched"] < self.now:
            return False
        build.phase, build.token_id = "sent", token_id
        build.attempt += 1
        build.due["dispatched"] = self.now + QUEUE_TTL
        return True

    def put_back(self, taken: Taken) -> None:
        build = self.builds.get(taken.build_id)
        if build and build.status is Status.QUEUED and build.take == taken.take:
            self._requeue(build)
            build.due["delayed"] = self.now + DELAY

    # ── workers ───────────────────────────────────────────────────────────────────────────────

    def claim(self, build_id: str, user: str, token_id: str, nonce: str, lease_id: str) -> Refusal:
        build, refusal = self._open(build_id, user)
        if build is None:
            return refusal
        if build.token_id != token_id:
            return errors.Superseded
        if build.status is Status.RUNNING:
            if build.nonce != nonce:
                return errors.HeldByAnother
            self.renew(build_id)
            return None
        return self._begin(build, nonce, lease_id)

    def _begin(self, build: ModelBuild, nonce: str, lease_id: str) -> Refusal:
        if build.phase != "sent" or build.due["dispatched"] < self.now:
            return errors.LeaseLost
        build.status = Status.RUNNING
        build.phase = build.take = None
        build.nonce, build.lease_id = nonce, lease_id
        build.log_start = len(build.log)
        build.due = {
            "leases": self.now + LEASE,
            "deadlines": self.now + TIMEOUT + AFTER_TIMEOUT,
        }
        return None

    def write(self, build_id: str, user: str, token_id: str, lease_id: str) -> Refusal:
        """What every write of a worker meets first; renews the lease where it passes."""
        build, refusal = self._open(build_id, user)
        if build is None:
            return refusal
        if build.status is not Status.RUNNING or build.lease_id != lease_id:
            return errors.LeaseLost
        if build.token_id != token_id:
            return errors.Superseded
        return None

    def _open(self, build_id: str, user: str) -> tuple[ModelBuild | None, Refusal]:
        """A build of this user's that has not ended, or why it is none."""
        build = self.builds.get(build_id)
        if build is None:
            return None, errors.NotFound
        if build.owner != user:
            return None, errors.WrongBuild
        if build.status.final:
            return None, errors.BuildFinal
        return build, None

    def renew(self, build_id: str) -> None:
        self.builds[build_id].due["leases"] = self.now + LEASE

    def append(self, build_id: str, offset: int, data: bytes) -> Refusal:
        build = self.builds[build_id]
        end = len(build.log)
        if offset > end:
            return errors.LogGap
        known = build.log[offset : offset + len(data)]
        if offset < build.log_start or known != data[: len(known)]:
            return errors.LogConflict
        if len(known) < len(data) and offset + len(data) - build.log_start > LOG_LIMIT:
            return errors.LogFull
        build.log += data[len(known) :]
        return None

    def finish(self, build_id: str, status: Status, digest: str) -> None:
        build = self.builds[build_id]
        build.digest = digest
        self._end(build, status)

    def hand_back(self, build_id: str) -> None:
        build = self.builds[build_id]
        if build.cancel:
            self._end(build, Status.CANCELLED)
        else:
            self._start_again(build)

    # ── the reaper ─────────────────────────────────────────────────────────────────────────────

    def next_due(self) -> int:
        """Seconds until the next thing is overdue; 0 when nothing will be."""
        times = [t for b in self.builds.values() for t in b.due.values() if t > self.now]
        return min(times, default=self.now - 500) + 500 - self.now

    def expire(self, *, hold: bool) -> None:
        for build in self._overdue("delayed"):
            del build.due["delayed"]
        for build in list(self.builds.values()):
            if build.due.get("ended", self.now) <= self.now - RETENTION:
                del self.builds[build.id]
        if hold:
            return
        for build in self._overdue("waiting"):
            self._end(build, Status.ERRORED)
        for build in self._overdue("dispatched"):
            self._requeue(build)
        for build in self._overdue("leases"):
            self._lose(build)
        for build in self._overdue("deadlines"):
            self._end(build, Status.TIMED_OUT)

    def _overdue(self, kind: str) -> list[ModelBuild]:
        return [b for b in self.builds.values() if kind in b.due and b.due[kind] <= self.now]

    def _lose(self, build: ModelBuild) -> None:
        build.losses += not build.cancel
        if build.cancel:
            self._end(build, Status.CANCELLED)
        elif build.losses >= MAX_ATTEMPTS:
            self._end(build, Status.ERRORED)
        else:
            self._start_again(build)

    def _end(self, build: ModelBuild, status: Status) -> None:
        build.status = status
        build.phase = build.take = build.nonce = build.lease_id = None
        build.due = {"ended": self.now}

    @staticmethod
    def _requeue(build: ModelBuild) -> None:
        build.phase = build.take = None
        del build.due["dispatched"]

    def _start_again(self, build: ModelBuild) -> None:
        build.status = Status.QUEUED
        build.nonce = build.lease_id = None
        build.again = True
        build.due = {"waiting": self.now + MAX_WAIT}
