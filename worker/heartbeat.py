"""Keeping the lease, and hearing what the API wants."""

import logging
import random
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Final

from app.contract.runs import HEARTBEATS, Directive, Progress
from app.observability.log_context import with_context
from worker.api_client import RunApi, TransientError
from worker.errors import LeaseLost

log = logging.getLogger(__name__)

#: Seconds that what is to be said waits: the build may end by then, and its result says it all.
_FIRST_LINGER: Final = 0.05
#: Seconds between tries while the API gives no verdict.
_RETRY_INTERVAL: Final = 1.0


class RunSignals:
    """What was heard from the API, for the thread that runs the build."""

    def __init__(self) -> None:
        self._cancel = threading.Event()
        self._lost: LeaseLost | None = None

    @property
    def cancel(self) -> bool:
        return self._cancel.is_set()

    @property
    def lost(self) -> LeaseLost | None:
        return self._lost

    def heard(self, directive: Directive) -> None:
        if directive.cancel:
            self._cancel.set()

    def lose(self, error: LeaseLost) -> None:
        self._lost = self._lost or error


class Heartbeat:
    """Renews the lease, hears what the API wants, and tells the steps when they have changed.

    The API holds heartbeats while it has nothing to say, so the steps go from a thread of their
    own. No `TransientError` ends a build: both go on trying, and the API decides who holds it.
    """

    def __init__(
        self,
        *,
        api: RunApi,
        signals: RunSignals,
        lease_seconds: float,
        progress: Callable[[], Progress],
    ) -> None:
        self._api = api
        self._signals = signals
        self._interval = lease_seconds / HEARTBEATS
        self._progress = progress
        self._stopped = threading.Event()
        self._changed = threading.Event()
        self._changed.set()

    def start(self) -> None:
        for name, call in {"heartbeat": self._renew, "progress": self._tell}.items():
            run = partial(self._keep_calling, call)
            threading.Thread(target=with_context(run), name=name, daemon=True).start()

    def tell(self) -> None:
        """The steps have changed: say so soon."""
        self._changed.set()

    def stop(self) -> None:
        """Make no more calls. One that is held now is not waited for: the API answers it as soon as
        the build is not this worker's any more."""
        self._stopped.set()
        self._changed.set()

    def _keep_calling(self, call: Callable[[], float]) -> None:
        """`call` returns how many seconds to wait before the next one."""
        pause = _FIRST_LINGER
        while not (self._stopped.wait(pause) or self._signals.lost):
            try:
                pause = call()
            except TransientError as transient:
                if not self._stopped.is_set():
                    log.warning("the heartbeat waits: %s", transient)
                pause = min(self._interval, max(_RETRY_INTERVAL, transient.retry_after))
            except LeaseLost as error:
                self._signals.lose(error)
            except Exception:
                # Error boundary: a surprise must not end in a build that runs without its lease.
                log.exception("a heartbeat failed")
                pause = min(self._interval, _RETRY_INTERVAL)

    def _renew(self) -> float:
        pace = self._interval * random.uniform(0.8, 1.0)  # noqa: S311  jitter
        begun = time.monotonic()
        # There is no order after the order to end.
        directive, held = self._api.renew(0 if self._signals.cancel else round(pace))
        self._signals.heard(directive)
        elapsed = time.monotonic() - begun
        if not held or directive.cancel:
            return max(0.0, pace - elapsed)
        if elapsed < held:  # that process ends; another one will listen
            return _RETRY_INTERVAL * random.uniform(0.5, 1.0)  # noqa: S311  jitter
        return 0.0

    def _tell(self) -> float:
        self._changed.wait()
        if self._stopped.wait(_FIRST_LINGER):
            return 0.0
        self._changed.clear()
        try:
            self._signals.heard(self._api.tell(self._progress()))
        except Exception:
            self._changed.set()
            raise
        return 0.0
