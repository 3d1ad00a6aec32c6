"""The one task: glue between Celery and the runner."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from celery import Celery, Task

from app.contract import queue as wire
from worker.runner import Tools, run_build

log = logging.getLogger(__name__)

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


def register(app: Celery, tools: Tools) -> None:
    """Teach `app` the task that runs a build with `tools`."""

    @app.task(name=wire.RUN_BUILD, bind=True, max_retries=0)
    def run(self: Task[..., None], build_id: str, *more: Any, **other: Any) -> None:  # noqa: ANN401
        with _running(build_id):
            if more or other:  # from an API that is newer than this worker
                log.warning("unknown arguments ignored: %d", len(more) + len(other))
            token = (self.request.headers or {}).get(wire.TOKEN_HEADER)
            if not isinstance(token, str):
                log.error("a message without a token; dropped")
                return
            try:
                run_build(tools, build_id, token)
            except Exception:
                # A door: Celery would log the exception with the message's arguments.
                log.exception("the run failed; the API will find that out by its lease")
