"""`register` adds the one Celery task, which checks a message and calls the runner."""

import gc
import logging
import re
from functools import cache
from typing import Any, Final, TypeGuard

from celery import Celery, Task
from celery.signals import task_postrun, task_prerun

from app.contract import queue as wire
from app.contract.sealing import Seal, Unsealable
from app.observability import tracing
from app.observability.log_context import begin
from worker.dependencies import Dependencies
from worker.request import BuildRequest
from worker.runner import run_build

log = logging.getLogger(__name__)

#: The shapes of a build's id and of a token (RFC 7515 §7.1). A message with any other is dropped:
#: asking the API about it would only keep a slot busy.
_BUILD_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\Z")
_MAX_TOKEN: Final = 16 * 1024  #: characters; most servers allow no longer header line
#: Seconds that a slot waits for its last spans to be delivered before it takes the next build.
_TRACE_FLUSH_TIMEOUT: Final = 0.2


def register(app: Celery, dependencies: Dependencies, seal: Seal | None) -> None:
    """Register the task that runs a build with `dependencies`; call once, before the pool forks.

    `seal` opens the tokens in messages; None: they are not sealed.
    """
    # These enclose all that Celery logs of the task in the process that runs it.
    task_prerun.connect(_begin_log_context, weak=False)
    task_postrun.connect(_end_log_context, weak=False)

    @app.task(name=wire.RUN_BUILD, bind=True, max_retries=0, Request=BuildRequest)
    def run(
        self: Task[..., None],
        build_id: object = None,
        *more: Any,  # noqa: ANN401  whatever a newer API sends
        **other: Any,  # noqa: ANN401
    ) -> None:
        if not isinstance(build_id, str) or not _BUILD_ID.match(build_id):
            log.error("a message without a build's id; dropped")
            return
        headers = self.request.headers or {}
        if more or other:
            log.warning("unknown arguments ignored: %d", len(more) + len(other))
        token = headers.get(wire.TOKEN_HEADER)
        if seal is not None and isinstance(token, str):
            try:
                token = seal.open(token, purpose=build_id)
            except Unsealable as error:
                log.error(  # noqa: TRY400  no traceback
                    "a message whose token cannot be opened (%s); dropped: BATON_MESSAGE_KEYS "
                    "must hold the API's first key",
                    error,
                )
                return
        if not _is_token(token):
            log.error("a message without a token; dropped")
            return
        try:
            run_build(dependencies, build_id, token, tracing.extract(headers))
        except Exception:
            # Error boundary: Celery would log the exception with the message's arguments.
            log.exception("the run failed; the API will find that out by its lease")
        finally:
            _collect_garbage()
            # A worker that is killed later takes little of this build's trace with it.
            dependencies.traces.flush(_TRACE_FLUSH_TIMEOUT)


def _collect_garbage() -> None:
    """Delete what a build leaves in memory: its objects refer to one another, and Python would let
    them grow to a quarter of all memory before a full collection."""
    gc.collect()
    _freeze_heap()


@cache
def _freeze_heap() -> None:
    """Exclude what a process has after its first build from collections: it stays for good."""
    gc.freeze()


def _begin_log_context(args: tuple[object, ...] = (), **_: Any) -> None:  # noqa: ANN401  Celery's
    build_id = args[0] if args else None
    begin(**({"build_id": build_id} if isinstance(build_id, str) else {}))


def _end_log_context(**_: Any) -> None:  # noqa: ANN401
    begin()


def _is_token(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and len(value) <= _MAX_TOKEN and _TOKEN.match(value) is not None
