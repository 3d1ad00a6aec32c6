"""Dispatchers, workers, users and the reaper in any order: the scripts do what the model says.

A worker here may be stale, confused or repeat itself: it writes with any token, any lease and any
nonce that there ever was. After every step, all of Redis is compared with the model.

`BATON_MODEL_EXAMPLES=5000` explores that many random stories; without it the same few are told.
"""

import asyncio
import os
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from redis import Redis

from app.builds import errors
from app.builds.ids import BuildIds
from app.builds.model import Credential
from app.builds.store import BuildStore, connect, keys
from app.builds.store.results import Finish, Taken
from app.contract.status import Status
from tests.seams import protocol_model as model
from tests.seams.protocol_contents import check_contents
from tests.seams.protocol_model import Model, Refusal
from tests.support.servers.redis_process import RedisProcess

EXAMPLES = int(os.environ.get("BATON_MODEL_EXAMPLES", "0"))
TIMED = ("delayed", "waiting", "dispatched", "leases", "deadlines", "ended")

#: With characters that mean something in keys.
OWNERS = ("auth0|ann", "b:queued", "}{c* ")
ANY = st.integers(0, 999)
#: A build, a token and a lease that need not belong together.
Worker = tuple[str, Credential, str]
CALL = st.tuples(st.integers(0, 5), st.integers(0, 40))


@pytest.mark.timeout(0 if EXAMPLES else 600)  # a failure is made small first
def test_the_scripts_keep_to_the_model(redis: RedisProcess) -> None:
    with asyncio.Runner() as runner, Redis.from_url(redis.url) as client:

        class Here(Story):
            run, store, raw = (
                runner.get_loop().run_until_complete,
                BuildStore(connect(redis.url)),
                client,
            )

        run_state_machine_as_test(
            Here,
            settings=settings(
                max_examples=EXAMPLES or 60,
                stateful_step_count=80,
                derandomize=not EXAMPLES,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
        runner.run(Here.store.close())


class Story(RuleBasedStateMachine):
    run: Callable[[Coroutine[Any, Any, Any]], Any]
    store: BuildStore
    raw: "Redis"

    def __init__(self) -> None:
        super().__init__()
        self.raw.flushdb()
        self._ids = BuildIds()
        self._model = Model()
        #: All that there ever was, so that it can come again.
        self._submitted: list[tuple[str, str]] = []
        self._takes: list[Taken] = []
        self._tokens: list[tuple[str, Credential]] = []
        self._leases = ["no lease"]
        self._records: dict[str, dict[bytes, bytes]] = {}

    # ── helpers ───────────────────────────────────────────────────────────────────────────────

    def _heard(self, call: Coroutine[Any, Any, object]) -> Refusal:
        """What a call raised, None when it passed."""
        try:
            self.run(call)
        except errors.BuildError as error:
            return type(error)
        return None

    def _current(self, build_id: str) -> Worker:
        """The worker that has claimed a build last."""
        build = self._model.builds[build_id]
        credential = Credential(user_id=build.owner, token_id=build.token_id or "")
        return build_id, credential, build.lease_id or ""

    def _worker(self, call: tuple[int, int]) -> Worker:
        """A worker: the build that a token is for, the token, and some lease.

        Two in three hold the build that they speak of, but for the lease now and then.
        """
        stale = self._leases[-1 - call[1] % len(self._leases)]
        running = [build.id for build in self._model.builds.values() if build.lease_id]
        if running and call[0] % 3:
            build_id, credential, lease_id = self._current(running[call[0] % len(running)])
            return build_id, credential, lease_id if call[1] % 4 else stale
        build_id, credential = self._tokens[-1 - call[0] % len(self._tokens)]
        return build_id, credential, stale

    def _write(
        self,
        worker: Worker,
        method: Callable[..., Coroutine[Any, Any, object]],
        then: Callable[[str], Refusal | None],
        **more: Any,
    ) -> None:
        """Make a worker's call, and see that it is refused, or does what `then` says."""
        build_id, credential, lease_id = worker
        expected = self._model.write(
            build_id, credential.user_id, credential.token_id, lease_id
        ) or then(build_id)
        assert self._heard(method(build_id, credential, lease_id=lease_id, **more)) == expected

    # ── users ─────────────────────────────────────────────────────────────────────────────────

    @rule(
        owner=st.sampled_from(OWNERS),
        key=st.sampled_from([None, None, "k"]),
        body=st.sampled_from("xy"),
    )
    def submit(self, owner: str, key: str | None, body: str) -> None:
        known = self._model.known(owner, key) if key else None
        call = self.store.records.submit(
            build_id=self._ids.new(), owner=owner, spec_json='{"steps":[{"name":"a","run":"b"}]}',
            timeout=model.TIMEOUT, max_wait=model.MAX_WAIT, retry_of=None,
            idempotency=(key, body) if key else None, idempotency_ttl=3600,
        )  # fmt: skip
        if known and known[1] != body:
            assert self._heard(call) is errors.KeyReused
            return
        build_id, created = self.run(call)
        if known:
            assert (build_id, created) == (known[0], None)
            return
        assert created is not None
        self._model.submit(build_id, owner, key, body)
        self._submitted.append((build_id, owner))

    @precondition(lambda self: self._submitted)
    @rule(which=ANY, stranger=st.sampled_from([None, None, None, "auth0|stranger"]))
    def cancel(self, which: int, stranger: str | None) -> None:
        build_id, owner = self._submitted[-1 - which % len(self._submitted)]
        owner = stranger or owner
        expected = self._model.cancel(build_id, owner)
        assert self._heard(self.store.records.cancel(build_id, owner, who=owner)) == expected

    # ── dispatchers ───────────────────────────────────────────────────────────────────────────

    @rule()
    def take(self) -> None:
        eligible = {} if self._model.full() else self._model.eligible()
        taken = self.run(
            self.store.dispatching.take(
                window=model.WINDOW, limit=model.USER_LIMIT, hold=model.HOLD
            )
        )
        if taken is None:
            assert not eligible
            return
        assert eligible[taken.owner] == taken.build_id
        assert taken.attempt == self._model.builds[taken.build_id].attempt
        self._model.taken(taken)
        self._takes.append(taken)

    @precondition(lambda self: self._takes)
    @rule(which=st.integers(0, 3), same=st.booleans())
    def send(self, which: int, same: bool) -> None:
        taken = self._takes[-1 - which % len(self._takes)]
        known = self._model.builds.get(taken.build_id)
        token_id = f"token {len(self._tokens)}"
        if same and known and known.token_id:
            token_id = known.token_id
        expected = self._model.sent(taken, token_id)
        call = self.store.dispatching.sent(
            taken, token_id=token_id, facts_json="", queue_ttl=model.QUEUE_TTL
        )
        if expected is errors.SameToken:
            assert self._heard(call) is errors.SameToken
        else:
            assert self.run(call) == expected
        # Its message may go out all the same: the dispatcher has died, or does not listen.
        self._tokens.append((taken.build_id, Credential(user_id=taken.owner, token_id=token_id)))

    @precondition(lambda self: self._takes)
    @rule(which=st.integers(0, 3))
    def put_back(self, which: int) -> None:
        taken = self._takes[-1 - which % len(self._takes)]
        self._model.put_back(taken)
        self.run(
            self.store.dispatching.put_back(
                taken, delay=model.DELAY, reason="no_token", message="why"
            )
        )

    # ── workers ───────────────────────────────────────────────────────────────────────────────

    @precondition(lambda self: self._tokens)
    @rule(
        which=st.integers(0, 3),
        nonce=st.sampled_from(["nonce 1", "nonce 2"]),
        user=st.sampled_from([None, None, None, None, "auth0|stranger"]),
    )
    def claim(self, which: int, nonce: str, user: str | None) -> None:
        build_id, credential = self._tokens[-1 - which % len(self._tokens)]
        if user:
            credential = Credential(user_id=user, token_id=credential.token_id)
        lease_id = f"lease {len(self._leases)}"
        expected = self._model.claim(
            build_id, credential.user_id, credential.token_id, nonce, lease_id
        )
        call = self.store.leases.claim(
            build_id, credential, nonce=nonce, worker="host:1", lease_id=lease_id,
            lease=model.LEASE, after_timeout=model.AFTER_TIMEOUT,
        )  # fmt: skip
        if expected is not None:
            assert self._heard(call) is expected
            return
        claimed = self.run(call)
        build = self._model.builds[build_id]
        assert claimed.lease_id == build.lease_id
        assert (claimed.attempt, claimed.log_offset) == (build.attempt, build.log_start)
        left = build.due["deadlines"] - model.AFTER_TIMEOUT - self._model.now
        if claimed.lease_id == lease_id:
            assert claimed.timeout == model.TIMEOUT == left
        assert claimed.cancel == build.cancel
        self._leases.append(claimed.lease_id)

    @precondition(lambda self: self._tokens)
    @rule(call=CALL, steps=st.sampled_from(["", "[]"]))
    def renew(self, call: tuple[int, int], steps: str) -> None:
        def then(build_id: str) -> Refusal:
            self._model.renew(build_id)
            return None

        self._write(
            self._worker(call), self.store.leases.renew, then, lease=model.LEASE, steps=steps
        )

    @precondition(lambda self: self._tokens)
    @rule(
        call=CALL,
        back=st.sampled_from([0, 0, 0, 1, 3, 50, -1]),
        data=st.sampled_from([b"a", b"aa", b"ab", b"\r\n\x00\xff", b"a" * 12]),
    )
    def append(self, call: tuple[int, int], back: int, data: bytes) -> None:
        self._append(self._worker(call), back, data)

    def _append(self, worker: Worker, back: int, data: bytes) -> None:
        build = self._model.builds.get(worker[0])
        offset = max(0, len(build.log) - back) if build else 0

        def then(build_id: str) -> Refusal:
            self._model.renew(build_id)
            return self._model.append(build_id, offset, data)

        self._write(
            worker, self.store.leases.append, then,
            lease=model.LEASE, offset=offset, limit=model.LOG_LIMIT, data=data,
        )  # fmt: skip

    @precondition(lambda self: self._tokens)
    @rule(
        call=CALL,
        status=st.sampled_from([Status.SUCCEEDED, Status.FAILED]),
        missing=st.sampled_from([0, 0, 0, 1]),
        more=st.sampled_from([b"", b"", b"a", b"a" * 12]),
    )
    def finish(self, call: tuple[int, int], status: Status, missing: int, more: bytes) -> None:
        build_id, credential, lease_id = self._worker(call)
        build = self._model.builds.get(build_id)
        there = build.log if build else b""
        tail = there[-1:] + more if more else b""  # what is there may come again
        length = len(there) + len(more) + missing
        start = length - len(tail)
        digest = f"{status} {length}"
        expected = self._model.write(build_id, credential.user_id, credential.token_id, lease_id)
        if expected is errors.BuildFinal:
            assert build
            if build.token_id == credential.token_id:  # nobody else is told what stands
                expected = None if build.digest == digest else errors.ResultConflict
        elif expected is None:
            assert build
            known = there[start:]
            if not build.log_start <= start <= len(there) or known != tail[: len(known)]:
                expected = errors.LogIncomplete
            elif len(known) < len(tail) and length - build.log_start > model.LOG_LIMIT:
                expected = errors.LogFull
            else:
                build.log += tail[len(known) :]
                self._model.finish(build_id, status, digest)
        result = Finish(
            status=status, reason="", message="", steps="[]", commit="",
            log_length=length, log_sha256="0" * 64, digest=digest,
            tail=tail, log_limit=model.LOG_LIMIT,
        )  # fmt: skip
        call_ = self.store.leases.finish(build_id, credential, lease_id=lease_id, result=result)
        assert self._heard(call_) == expected

    @precondition(lambda self: self._tokens)
    @rule(call=CALL)
    def hand_back(self, call: tuple[int, int]) -> None:
        def then(build_id: str) -> Refusal:
            self._model.hand_back(build_id)
            return None

        self._write(self._worker(call), self.store.leases.hand_back, then, max_wait=model.MAX_WAIT)

    # ── and how it mostly goes ────────────────────────────────────────────────────────────────

    @rule(
        owner=st.sampled_from(OWNERS),
        begun=st.sampled_from([False, True, True]),
        says=st.sampled_from([b"", b"a", b"ab", b"abab"]),
    )
    def go_well(self, owner: str, begun: bool, says: bytes) -> None:
        """Without this, few stories would come as far as a running build."""
        if not self._model.eligible():
            self.submit(owner, None, "x")
        before = len(self._takes)
        self.take()
        if len(self._takes) > before:
            self.send(0, same=False)
            if begun:
                self.claim(0, "nonce 1", None)
                if says:
                    self._append(self._current(self._takes[-1].build_id), 0, says)

    @rule(owner=st.sampled_from(OWNERS), back=st.booleans())
    def come_up_to_the_limit(self, owner: str, back: bool) -> None:
        """One more than may be dispatched, and a look at whose turn it is after that."""
        for _ in range(model.USER_LIMIT + 1):
            self.submit(owner, None, "x")
        for _ in range(model.USER_LIMIT + 1):
            self.take()
        if back and self._takes:
            self.put_back(0)

    # ── time ──────────────────────────────────────────────────────────────────────────────────

    @rule(seconds=st.sampled_from([1000, 2000, 4000, 13000, 70000]))
    def pass_time(self, seconds: int) -> None:
        self._jump(seconds)

    @precondition(lambda self: self._model.next_due())
    @rule(then=st.sampled_from(["watch", "watch", "late claim", "late send"]))
    def let_something_become_due(self, then: str) -> None:
        self._jump(self._model.next_due())
        if then == "watch":
            self.watch(hold=False)
        elif then == "late claim" and self._tokens:
            self.claim(0, "nonce 2", None)
        elif then == "late send" and self._takes:
            self.send(0, same=False)

    def _jump(self, seconds: int) -> None:
        self._model.now += seconds
        for name in TIMED:
            members: Any = self.raw.zrange(keys.PREFIX + name, 0, -1)
            for member in members:
                self.raw.zincrby(keys.PREFIX + name, -1000 * seconds, member)

    @rule(hold=st.sampled_from([False, False, True]))
    def watch(self, hold: bool) -> None:
        self._model.expire(hold=hold)
        self.run(
            self.store.dispatching.expire(
                hold=hold, max_attempts=model.MAX_ATTEMPTS,
                max_wait=model.MAX_WAIT, retention=model.RETENTION,
            )
        )  # fmt: skip

    # ── what must hold ────────────────────────────────────────────────────────────────────────

    @invariant()
    def redis_holds_what_the_model_says(self) -> None:
        check_contents(self._model, self.raw, self._records)
