"""`named` and `BuildRequest` put a build's id on Celery's log lines in the main process."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from celery.worker.request import Request
from kombu import Message
from kombu.exceptions import KombuError

from app.observability.log_context import bound


@contextmanager
def named(message: Message) -> Iterator[None]:
    """Put the build's id on lines that are logged meanwhile, if the message has one."""
    build_id: object = None
    with suppress(KombuError, LookupError, TypeError, ValueError):
        build_id = message.payload[0][0]
    with _bound(build_id):
        yield


class BuildRequest(Request):
    """A `BuildRequest` is an attempt as the main process sees it.

    Celery logs in the three methods that are overridden here.
    """

    def on_accepted(self, pid: Any, time_accepted: float) -> None:  # noqa: ANN401
        with _bound(*self.args[:1]):
            super().on_accepted(pid, time_accepted)

    def on_timeout(self, soft: bool, timeout: float) -> None:
        with _bound(*self.args[:1]):
            super().on_timeout(soft, timeout)

    def on_failure(self, exc_info: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        with _bound(*self.args[:1]):
            return super().on_failure(exc_info, *args, **kwargs)


@contextmanager
def _bound(build_id: object = None) -> Iterator[None]:
    if not isinstance(build_id, str):
        yield
        return
    with bound(build_id=build_id):
        yield
