"""`run_build` takes one build from its message to its result: claim, checkout, steps, report."""

import logging
import os
import secrets
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import IO, Final

from app.contract.runs import (
    MAX_TEXT,
    Claim,
    ClaimRequest,
    Directive,
    Progress,
    Result,
    StepReport,
)
from app.contract.spec import Step
from app.contract.status import Reason, Status, StepStatus
from app.observability import tracing
from app.observability.log_context import bind
from app.observability.tracing import Kind
from worker.api_client import LogIsFull, RunApi, SendFrom
from worker.checkout import without_credentials
from worker.dependencies import Dependencies
from worker.disk_quota import DiskQuota
from worker.environment import PATH, environment
from worker.errors import (
    BuildEnded,
    Cancelled,
    LeaseLost,
    QuotaExceeded,
    ReportImpossible,
    SandboxFailed,
    ShuttingDown,
    StepFailed,
    TimedOut,
    outcome,
)
from worker.heartbeat import Heartbeat, RunSignals
from worker.log_shipper import LogShipper, LogSpool, OutputPump
from worker.sandbox import Command, Process, Workspace
from worker.shutdown import Shutdown
from worker.spans import describe_end, describe_step, step_title

log = logging.getLogger(__name__)

#: Seconds for a claim; the API gives a build that is not claimed to another worker.
_CLAIM_TIMEOUT: Final = 600.0
#: Seconds of claiming between two checks whether the worker has to stop.
_CLAIM_ATTEMPT_TIMEOUT: Final = 10.0
#: Seconds between checks of orders, time and disk while a command runs.
_POLL_INTERVAL: Final = 0.1
#: Seconds for handing a build back at a shutdown.
_HAND_BACK_TIMEOUT: Final = 10.0
#: Seconds for the last output of a command whose processes are all gone.
_DRAIN_TIMEOUT: Final = 10.0
#: Seconds before a result is sent again whose log the API did not have in full.
_RESULT_RETRY_INTERVAL: Final = 0.2
#: Seconds at the end of the report window for the result alone, a quarter of the window at most.
_RESULT_RESERVE: Final = 60.0
_LOG_CUT: Final = "the end of the log could not be delivered"


def run_build(
    dependencies: Dependencies, build_id: str, token: str, trace: Mapping[str, str] | None = None
) -> None:
    """Claim the build, run it, report its result.

    A failure ends on the build's record, or the API's reaper finds it by its lease. Raises
    `OSError`, before the claim, when the spool cannot be made. `trace` has the headers of the API's
    trace.
    """
    worker = f"{dependencies.worker_name}:{os.getpid()}"
    attributes = {tracing.BUILD: build_id, "baton.worker": worker}
    with (
        dependencies.traces.span(
            "run_build", kind=Kind.CONSUMER, parent=trace, attributes=attributes
        ) as span,
        # Before the claim: a worker whose disk is full must not take builds.
        tempfile.TemporaryFile() as spool,
        closing(dependencies.connect(build_id, token)) as api,
    ):
        request = ClaimRequest(nonce=secrets.token_urlsafe(24), worker=worker)
        try:
            with dependencies.traces.span("claim", kind=Kind.CLIENT):
                claim = _claim(api, request, dependencies.shutdown)
        except LeaseLost as error:
            log.info("not ours to run: %s", error)
            return
        except ReportImpossible as error:
            log.warning("not claimed: %s", error)
            tracing.failed(span, type(error).__name__)
            return
        bind(attempt=claim.attempt)
        span.set_attribute(tracing.ATTEMPT, claim.attempt)
        log.info("claimed, attempt %d", claim.attempt)
        with closing(Run(dependencies, api, claim, spool)) as run:
            run.to_the_end()


def _claim(api: RunApi, request: ClaimRequest, shutdown: Shutdown) -> Claim:
    """Claim until a verdict, `_CLAIM_TIMEOUT`, or a shutdown. Raises `ReportImpossible` then."""
    end = time.monotonic() + _CLAIM_TIMEOUT
    while True:
        try:
            return api.claim(request, deadline=min(end, time.monotonic() + _CLAIM_ATTEMPT_TIMEOUT))
        except ReportImpossible:
            if time.monotonic() >= end or shutdown.begun:
                raise


class Run:
    """A `Run` is a claimed build on this worker: `to_the_end` once, then `close`.

    Making one starts the heartbeat and the log shipper.
    """

    def __init__(
        self, dependencies: Dependencies, api: RunApi, claim: Claim, spool: IO[bytes]
    ) -> None:
        self._dependencies = dependencies
        self._traces = dependencies.traces
        self._api = api
        self._claim = claim
        self._deadline = time.monotonic() + claim.timeout
        self._commit: str | None = None
        self._steps = [StepReport(name=step.name) for step in claim.spec.steps]
        self._signals = RunSignals()
        if claim.cancel:
            self._signals.apply(Directive(cancel=True, lease_seconds=claim.lease_seconds))
        self._spool = LogSpool(spool, claim.log_limit)
        self._shipper = LogShipper(
            spool=self._spool,
            api=api,
            offset=claim.log_offset,
            on_directive=self._signals.apply,
            on_lease_lost=self._signals.lease_lost,
            traces=dependencies.traces,
        )
        self._heartbeat = Heartbeat(
            api=api,
            signals=self._signals,
            lease_seconds=claim.lease_seconds,
            progress=self._progress,
        )
        self._shipper.start()
        self._heartbeat.start()

    def close(self) -> None:
        """End heartbeat and log shipper, whatever is unsent."""
        self._heartbeat.stop()
        self._shipper.stop()
        self._spool.close()

    def to_the_end(self) -> None:
        """Build, then report the result or hand the build back; log what fails of that."""
        try:
            status, reason, message = self._outcome()
            describe_end(status, reason)
            with self._traces.span("report", kind=Kind.CLIENT):
                self._report(status, reason, message)
        except ShuttingDown:
            self._hand_back()
        except LeaseLost as error:
            log.warning("the build is not ours any more: %s", error)
            tracing.failed(tracing.current(), type(error).__name__)
        except ReportImpossible as error:
            log.error("the result could not be delivered: %s", error)  # noqa: TRY400  no traceback
            tracing.failed(tracing.current(), type(error).__name__)
        else:
            log.info("ended: %s", status)

    # ── building ──────────────────────────────────────────────────────────────────────────────

    def _outcome(self) -> tuple[Status, Reason | None, str | None]:
        """Build; return the status, reason and message of the result.

        Raises `LeaseLost`, `ShuttingDown`: there is nothing to report then.
        """
        try:
            self._build()
        except (LeaseLost, ShuttingDown):
            raise
        except (BuildEnded, SandboxFailed) as error:
            self._note(str(error))
            return (*outcome(error), str(error))
        except Exception as error:
            # Error boundary: the build ends `errored`, which tells its user that Baton failed.
            log.exception("the worker failed")
            tracing.record(error)
            return Status.ERRORED, Reason.WORKER_FAILED, "the worker met an error of its own"
        return Status.SUCCEEDED, None, None

    def _build(self) -> None:
        claim = self._claim
        with self._workspace(f"{claim.build_id}-{claim.attempt}") as workspace:
            if claim.spec.source is not None:
                shown = without_credentials(claim.spec.source.git)
                self._print(f"==> checkout {shown}")
                with self._traces.span("checkout"):
                    self._commit = self._dependencies.checkout.run(
                        claim.spec.source,
                        workspace,
                        PATH,
                        lambda c: self._execute(c, workspace),
                        isolates=self._dependencies.sandbox.isolates,
                    )
                self._heartbeat.progress_changed()
            for index, step in enumerate(claim.spec.steps):
                with self._traces.span(step_title(index + 1, step)):
                    self._step(index, step, workspace)

    @contextmanager
    def _workspace(self, name: str) -> Iterator[Workspace]:
        workspace = self._dependencies.sandbox.workspace(name)
        try:
            yield workspace
        finally:
            try:
                self._dependencies.sandbox.remove(workspace)
            except SandboxFailed as error:
                # A leftover on this machine's disk does not change how the build ended.
                log.error("a workspace is left over: %s", error)  # noqa: TRY400  no traceback

    def _step(self, index: int, step: Step, workspace: Workspace) -> None:
        claim = self._claim
        self._print(f"==> {step.name}")
        self._update(
            index,
            status=StepStatus.RUNNING,
            started_at=datetime.now(UTC),
            log_offset=claim.log_offset + self._spool.size,
        )
        status, exit_code = StepStatus.CANCELLED, None
        try:
            command = Command(
                argv=("/bin/sh", "-e"),
                script=step.run,
                env=environment(claim, step, workspace, self._commit),
                cwd=workspace.source,
                network=self._dependencies.network,
            )
            exit_code, _ = self._execute(command, workspace, step)
            status = StepStatus.SUCCEEDED if exit_code == 0 else StepStatus.FAILED
        except TimedOut:
            status = StepStatus.TIMED_OUT
            raise
        except (QuotaExceeded, SandboxFailed):
            status = StepStatus.FAILED
            raise
        finally:
            self._update(index, status=status, exit_code=exit_code, finished_at=datetime.now(UTC))
            describe_step(status, exit_code)
        if exit_code:
            raise StepFailed(step.name, exit_code)

    def _execute(
        self, command: Command, workspace: Workspace, step: Step | None = None
    ) -> tuple[int, bytes]:
        """Run a command to its end; return its exit status and the end of its output.

        Raises `Cancelled`, `TimedOut`, `QuotaExceeded`, `ShuttingDown` or `LeaseLost` when the
        worker ended it, and `SandboxFailed`. No process of the command is left in any case.
        """
        self._check_orders()
        started = time.monotonic()
        # A command that ends before the first poll would never be checked.
        self._check_time(started, step)
        process = self._dependencies.sandbox.start(command, workspace)
        pump = OutputPump(process.output, self._spool)
        quota = DiskQuota(workspace.root, self._dependencies.disk)
        try:
            while (status := process.wait(_POLL_INTERVAL)) is None:
                self._check_orders()
                self._check_time(started, step)
                quota.check()
        except (Cancelled, TimedOut, QuotaExceeded, ShuttingDown):
            self._terminate(process)
            raise
        finally:
            try:
                process.close()
            finally:
                pump.finish(_DRAIN_TIMEOUT)
        return status, pump.tail

    def _check_orders(self) -> None:
        if self._signals.lost:
            raise self._signals.lost
        if self._signals.cancel:
            raise Cancelled("the build was cancelled")
        if self._dependencies.shutdown.due:
            raise ShuttingDown

    def _check_time(self, started: float, step: Step | None) -> None:
        now = time.monotonic()
        if now >= self._deadline:
            raise TimedOut(None, self._claim.spec.timeout or self._claim.timeout)
        if step is not None and step.timeout is not None and now - started >= step.timeout:
            raise TimedOut(step.name, step.timeout)

    def _terminate(self, process: Process) -> None:
        """Send SIGTERM and wait for up to `kill_grace` seconds; `close` kills what is left."""
        process.terminate()
        end = time.monotonic() + self._claim.kill_grace
        try:
            while process.wait(_POLL_INTERVAL) is None and time.monotonic() < end:
                if self._signals.lost:
                    return
        except SandboxFailed as error:  # why it was ended says more than how
            log.warning("while a command was ended: %s", error)

    # ── reporting ─────────────────────────────────────────────────────────────────────────────

    def _print(self, line: str) -> None:
        self._spool.append(f"{line}\n".encode())

    def _note(self, line: str) -> None:
        self._print(f"[{line}]")

    def _update(self, index: int, **changes: object) -> None:
        self._steps[index] = self._steps[index].model_copy(update=changes)
        self._heartbeat.progress_changed()

    def _progress(self) -> Progress:
        return Progress(steps=list(self._steps), commit=self._commit)

    def _report(self, status: Status, reason: Reason | None, message: str | None) -> None:
        """Deliver log and result. Raises `LeaseLost`, `ReportImpossible`.

        A proxy may refuse a chunk of the log for its content. Towards the end of the window, the
        result goes without what follows that chunk, and its message says so.
        """
        window = self._claim.report_window
        deadline = time.monotonic() + window
        log_deadline = deadline - min(_RESULT_RESERVE, window / 4)
        steps = [
            step.model_copy(update={"status": StepStatus.SKIPPED})
            if step.status is StepStatus.PENDING
            else step
            for step in self._steps
        ]
        with_tail = True
        while True:
            tail, whole = self._rest_of_log(log_deadline, with_tail=with_tail)
            text = message if whole else _joined(message, _LOG_CUT)
            length = self._shipper.position + len(tail)
            result = Result(
                status=status,
                reason=reason,
                message=text[:MAX_TEXT] if text else None,
                steps=steps,
                commit=self._commit,
                log_length=self._claim.log_offset + length,
                log_sha256=self._spool.sha256(length),
                log_tail=tail,
            )
            with_tail = False  # a result that was refused for its tail may pass without
            try:
                self._api.report(result, deadline=log_deadline if tail else deadline)
            except SendFrom as error:
                self._shipper.rewind(error.end)
            except LogIsFull as error:
                self._shipper.end_at(error.end)
            except ReportImpossible:
                if not tail:
                    raise
            else:
                self._shipper.delivered(result.log_length)
                return
            if time.monotonic() >= deadline:
                raise ReportImpossible("the API has another log than the one it was sent")
            if not tail:
                time.sleep(_RESULT_RETRY_INTERVAL)

    def _hand_back(self) -> None:
        """Have another worker start the build at once; if the call fails, its lease runs out."""
        tracing.failed(tracing.current(), Reason.WORKER_SHUTDOWN)
        try:
            self._api.hand_back(deadline=time.monotonic() + _HAND_BACK_TIMEOUT)
        except (LeaseLost, ReportImpossible) as error:
            log.warning("not handed back: %s", error)
        else:
            log.info("handed back")

    def _rest_of_log(self, deadline: float, *, with_tail: bool) -> tuple[bytes, bool]:
        """Return the tail for the result to carry, and whether the API has all before it.

        Raises `LeaseLost`.
        """
        try:
            if with_tail:
                return self._shipper.hold(deadline), True
            self._shipper.flush(deadline)
        except ReportImpossible as error:
            if self._signals.lost:
                raise self._signals.lost from None
            log.warning("%s: the result goes without its end", error)
            return b"", False
        return b"", True


def _joined(message: str | None, more: str) -> str:
    return f"{message}; {more}" if message else more
