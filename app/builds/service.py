"""The build service is all that users and workers can do with builds, over the store."""

import hashlib
import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Protocol

from app.builds.errors import LogIncomplete, NotFound, SpecRefused
from app.builds.ids import PATTERN, BuildIds
from app.builds.model import NO_TOKENS, Credential, PrefetchedTokens
from app.builds.store import BuildStore
from app.builds.store.results import Finish
from app.contract.builds import BuildPage, BuildView, LogView
from app.contract.runs import Appended, Claim, ClaimRequest, Directive, Progress, Result
from app.contract.spec import DEFAULT_TIMEOUT, BuildSpec
from app.contract.status import Status
from app.observability import log_context, tracing


class PrefetchTokens(Protocol):
    """A `PrefetchTokens` obtains the tokens of all attempts at a build, while its user is signed
    in.

    `timeout` is the build's, in seconds. Raises `MintError`.
    """

    async def __call__(
        self, *, user_id: str, build_id: str, timeout: float
    ) -> PrefetchedTokens: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildRules:
    """The limits of builds, in seconds and bytes."""

    max_build_timeout: float
    max_queue_wait: float
    lease: float
    kill_grace: float
    report_window: float
    after_timeout: float  #: beyond a build's timeout, within which its end must be reported
    log_limit: int  #: bytes of one attempt's log
    idempotency_ttl: float
    user_queue: int  #: builds that a user may have queued


class BuildService:
    """The build service checks a call, and carries it out in the store.

    Raises the errors of `app.builds.errors`; any method may raise `StoreUnavailable`, after which
    the call may have taken effect. Safe to call from any number of tasks at once.
    """

    def __init__(self, *, store: BuildStore, rules: BuildRules) -> None:
        self._store = store
        self._rules = rules
        self._ids = BuildIds()

    # ── users' calls; another user's build is `NotFound` ──────────────────────────────────────

    async def submit(
        self,
        owner: str,
        spec: BuildSpec,
        *,
        idempotency_key: str | None = None,
        retry_of: str | None = None,
        prefetch: PrefetchTokens | None = None,
    ) -> BuildView:
        """Accept a build, which is on record and queued when this returns.

        With an `idempotency_key`, the same key and spec return the build that was submitted with
        them before. Raises `SpecRefused`, `KeyReused`, `QueueFull`, and what `prefetch` raises.
        """
        spec, timeout = self._check_spec(spec)
        spec_json = spec.model_dump_json()
        idempotency = None
        if idempotency_key is not None:
            body = f"{retry_of or ''}\n{spec_json}"
            idempotency = (_sha256(idempotency_key), _sha256(body))
        if prefetch and idempotency:  # a repeated request must not cost the provider tokens
            before = await self._store.records.submitted(owner, idempotency)
            if before is not None:
                log_context.bind(build_id=before)
                return await self.show(owner, before)
        build_id = self._ids.new()
        log_context.bind(build_id=build_id)
        prefetched = NO_TOKENS
        if prefetch:
            await self._store.records.check_room(owner, self._rules.user_queue)
            prefetched = await prefetch(user_id=owner, build_id=build_id, timeout=timeout)
        build_id, created = await self._store.records.submit(
            build_id=build_id,
            owner=owner,
            spec_json=spec_json,
            timeout=timeout,
            max_wait=self._rules.max_queue_wait,
            retry_of=retry_of,
            idempotency=idempotency,
            idempotency_ttl=self._rules.idempotency_ttl,
            labels=spec.labels,
            queue_limit=self._rules.user_queue,
            trace=tracing.to_json(),
            prefetched=prefetched,
        )
        if created is None:
            log_context.bind(build_id=build_id)
            return await self.show(owner, build_id)
        return BuildView(
            id=build_id,
            owner=owner,
            status=Status.QUEUED,
            spec=spec,
            attempt=0,
            created_at=datetime.fromtimestamp(created / 1000, UTC),
            retry_of=retry_of,
            log=LogView(length=0),
        )

    def _check_spec(self, spec: BuildSpec) -> tuple[BuildSpec, int]:
        """Return the spec with its timeout filled in, and that timeout in seconds. Raises
        `SpecRefused`."""
        most = int(self._rules.max_build_timeout)
        timeout = spec.timeout or min(DEFAULT_TIMEOUT, most)
        if timeout > most:
            raise SpecRefused("/timeout", f"at most {most} seconds here")
        for index, step in enumerate(spec.steps):
            if step.timeout is not None and step.timeout > timeout:
                raise SpecRefused(
                    f"/steps/{index}/timeout", f"longer than the build's own {timeout} seconds"
                )
        return spec.model_copy(update={"timeout": timeout}), timeout

    async def show(self, owner: str, build_id: str) -> BuildView:
        """Return a build. Raises `NotFound`, for another user's build too."""
        _check_id(build_id)
        build = await self._store.records.get(build_id)
        if build.view.owner != owner:
            raise NotFound(NotFound.__doc__)
        return build.view

    async def page(
        self,
        owner: str,
        *,
        status: Status | None,
        cursor: str | None,
        limit: int,
        labels: Sequence[str] = (),
    ) -> BuildPage:
        """Return up to `limit` builds, newest first, after the one that `cursor` names.

        `labels` (`name` or `name:value`) select builds that have all of them; a page of these may
        be empty and have a next one.
        """
        builds, following = await self._store.records.page(
            owner, status=status, before=cursor, limit=limit, labels=labels
        )
        return BuildPage(builds=[build.view for build in builds], next=following)

    async def cancel(self, owner: str, build_id: str) -> BuildView:
        """End a queued build, or ask the worker of a running one to end it; safe to call twice.

        Raises `NotCancellable`.
        """
        _check_id(build_id)
        await self._store.records.cancel(build_id, owner, who=owner)
        return await self.show(owner, build_id)

    async def retry(
        self,
        owner: str,
        build_id: str,
        *,
        idempotency_key: str | None = None,
        prefetch: PrefetchTokens | None = None,
    ) -> BuildView:
        """Submit a new build with the spec of an earlier one. Raises what `submit` raises."""
        before = await self.show(owner, build_id)
        return await self.submit(
            owner,
            before.spec,
            idempotency_key=idempotency_key,
            retry_of=before.id,
            prefetch=prefetch,
        )

    async def log_length(self, owner: str, build_id: str) -> tuple[Status, int]:
        """Return a build's status and the length of its log in bytes."""
        _check_id(build_id)
        recorded_owner, status, length = await self._store.logs.state(build_id)
        if recorded_owner != owner:
            raise NotFound(NotFound.__doc__)
        return status, length

    def read_log(self, build_id: str, start: int, stop: int) -> AsyncIterator[bytes]:
        """Yield a part of a log in pieces; the caller has checked with `log_length` whose it is."""
        return self._store.logs.pieces(build_id, start, stop)

    # ── workers' calls; `Refused` unless the worker holds the build's current lease ───────────

    async def claim(self, build_id: str, credential: Credential, request: ClaimRequest) -> Claim:
        """Give a build to a worker, with its spec, a new lease and the limits.

        The same nonce again gets the same claim: its first response may have been lost.
        """
        rules = self._rules
        claimed = await self._store.leases.claim(
            build_id,
            credential,
            nonce=request.nonce,
            worker=request.worker,
            lease_id=secrets.token_urlsafe(16),
            lease=rules.lease,
            after_timeout=rules.after_timeout,
        )
        return Claim(
            build_id=build_id,
            attempt=claimed.attempt,
            spec=BuildSpec.model_validate_json(claimed.spec_json),
            lease_id=claimed.lease_id,
            lease_seconds=rules.lease,
            timeout=max(0.0, claimed.timeout),
            kill_grace=rules.kill_grace,
            report_window=rules.report_window,
            log_offset=claimed.log_offset,
            log_limit=rules.log_limit,
            cancel=claimed.cancel,
        )

    async def renew(
        self,
        build_id: str,
        credential: Credential,
        lease_id: str,
        progress: Progress | None = None,
    ) -> Directive:
        """Renew the lease, and put the progress of the steps on record where it is given."""
        steps = commit = ""
        if progress is not None:
            steps, commit = _steps_json(progress), progress.commit or ""
        cancel = await self._store.leases.renew(
            build_id,
            credential,
            lease_id=lease_id,
            lease=self._rules.lease,
            steps=steps,
            commit=commit,
        )
        return self._directive(cancel=cancel)

    async def directive(self, build_id: str, credential: Credential, lease_id: str) -> Directive:
        """Return what `renew` would return now, without renewing the lease."""
        cancel = await self._store.leases.read_cancel(build_id, credential, lease_id=lease_id)
        return self._directive(cancel=cancel)

    async def append_log(
        self, build_id: str, credential: Credential, lease_id: str, offset: int, data: bytes
    ) -> Appended:
        """Append `data` at byte `offset` of the log; bytes that are there already are skipped.

        Raises `LogGap`, `LogConflict` or `LogFull` beside the other refusals.
        """
        end, cancel = await self._store.leases.append(
            build_id,
            credential,
            lease_id=lease_id,
            lease=self._rules.lease,
            offset=offset,
            limit=self._rules.log_limit,
            data=data,
        )
        return Appended(end=end, cancel=cancel, lease_seconds=self._rules.lease)

    async def hand_back(self, build_id: str, credential: Credential, lease_id: str) -> Directive:
        """Queue the build for its next attempt, or end it if its user has cancelled it."""
        await self._store.leases.hand_back(
            build_id, credential, lease_id=lease_id, max_wait=self._rules.max_queue_wait
        )
        return self._directive(cancel=False)

    async def finish(
        self, build_id: str, credential: Credential, lease_id: str, result: Result
    ) -> Directive:
        """Record the result and the log's last bytes; the same result again is accepted.

        Raises `ResultConflict`, `LogIncomplete` or `LogFull` beside the other refusals.
        """
        tail = result.log_tail
        same = hashlib.sha256(tail).hexdigest() == result.log_sha256
        end = Finish(
            status=result.status,
            reason=result.reason or "",
            message=result.message or "",
            steps=_steps_json(result),
            commit=result.commit or "",
            log_length=result.log_length,
            log_sha256=result.log_sha256,
            digest=_sha256(result.model_dump_json(exclude={"log_tail"})),
            tail=tail,
            log_limit=self._rules.log_limit,
            verified="tail" if same else "",
        )
        start = await self._store.leases.finish(build_id, credential, lease_id=lease_id, result=end)
        if start is not None:
            # Only the lease's holder appends: the log is still the same when the script runs again.
            stop = result.log_length - len(tail)
            if await self._store.logs.sha256(build_id, start, stop, tail) != result.log_sha256:
                raise LogIncomplete(start)
            end = replace(end, verified="log")
            await self._store.leases.finish(build_id, credential, lease_id=lease_id, result=end)
        return self._directive(cancel=False)

    def _directive(self, *, cancel: bool) -> Directive:
        return Directive(cancel=cancel, lease_seconds=self._rules.lease)


def _check_id(build_id: str) -> None:
    if not PATTERN.match(build_id):
        raise NotFound(NotFound.__doc__)


def _steps_json(report: Progress | Result) -> str:
    return "[" + ",".join(step.model_dump_json() for step in report.steps) + "]"


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
