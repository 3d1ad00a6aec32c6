"""The one task: glue between Celery and the runner."""

import gc
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeGuard

from celery import Celery, Task

from app.contract import queue as wire
from app.contract.sealing import Seal, Unsealable
from worker.runner import Tools, run_build

log = logging.getLogger(__name__)

#: What is not of these shapes is neither a build nor a token (RFC 7515 §7.1), whoever wrote the
#: message; to ask the API about it would only keep a slot busy.
_BUILD_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\Z")
_LONGEST_TOKEN: Final = 16 * 1024  #: characters; header lines end there in most servers

#: One build runs at a time in a pool process; its threads log for it, too.
_current: Final = ["-"]


class BuildIdFilter(logging.Filter):
    """Puts the id of the build that this process runs on every log line."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.build_id = _current[0]
        return True


@contextmanager
def _running(build_id: str) -> Iterator[None]:
    _current[0] = build_id
    try:
        yield
    finally:
        _current[0] = "-"


def register(app: Celery, tools: Tools, seal: Seal | None) -> None:
    """Teach `app` the task that runs a build with `tools`; `seal` opens the tokens of messages."""

    @app.task(name=wire.RUN_BUILD, bind=True, max_retries=0)
    def run(
        self: Task[..., None],
        build_id: object = None,
        *more: Any,  # noqa: ANN401  whatever a newer API sends
        **other: Any,  # noqa: ANN401
    ) -> None:
        if not isinstance(build_id, str) or not _BUILD_ID.match(build_id):
            log.error("a message without a build's id; dropped")
            return
        with _running(build_id):
            if more or other:
                log.warning("unknown arguments ignored: %d", len(more) + len(other))
            token = (self.request.headers or {}).get(wire.TOKEN_HEADER)
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
                run_build(tools, build_id, token)
            except Exception:
                # A door: Celery would log the exception with the message's arguments.
                log.exception("the run failed; the API will find that out by its lease")
            finally:
                # A build's leftovers refer to one another; Python would let them pile up to a
                # quarter of all memory before it looks.
                gc.collect()


def _is_token(value: object) -> TypeGuard[str]:
    return (
        isinstance(value, str) and len(value) <= _LONGEST_TOKEN and _TOKEN.match(value) is not None
    )
