"""`Heartbeat` renews the lease, and brings the API's orders to the thread that runs the build."""

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

#: Seconds that a change of the steps waits: the build may end by then, and its result has them.
_FIRST_LINGER: Final = 0.05
#: Seconds between retries while the API gives no verdict.
_RETRY_INTERVAL: Final = 1.0


class RunSignals:
    """`RunSignals` carries orders from the threads that call the API to the build's own thread.

    The callers set, the build's thread polls; no signal is ever taken back.
    """

    def __init__(self) -> None:
        self._cancel = threading.Event()
        self._lost: LeaseLost | None = None

    @property
    def cancel(self) -> bool:
        """Whether the API wants the build to end."""
        return self._cancel.is_set()

    @property
    def lost(self) -> LeaseLost | None:
        """The error that ended the lease, the first one where there were several."""
        return self._lost

    def apply(self, directive: Directive) -> None:
        """Take the order in an answer of the API's, if there is one."""
        if directive.cancel:
            self._cancel.set()

    def lease_lost(self, error: LeaseLost) -> None:
        """Have the build stop: its lease is gone."""
        self._lost = self._lost or error


class Heartbeat:
    """A `Heartbeat` renews the lease in one thread, and sends changed steps in another.

    The API holds heartbeats while it has no order, so steps cannot wait for them. No
    `TransientError` ends a build: both threads retry, and the API decides who holds the lease.
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
        """Start both threads; call once."""
        for name, call in {"heartbeat": self._renew, "progress": self._send_progress}.items():
            run = partial(self._keep_calling, call)
            threading.Thread(target=with_context(run), name=name, daemon=True).start()

    def progress_changed(self) -> None:
        """Have the steps sent soon; returns at once, from any thread."""
        self._changed.set()

    def stop(self) -> None:
        """Make no more calls; safe to call twice.

        A call that is held now is not waited for: the API answers it as soon as the build is not
        this worker's any more.
        """
        self._stopped.set()
        self._changed.set()

    def _keep_calling(self, call: Callable[[], float]) -> None:
        """Repeat `call`, which returns the seconds until the next one, until stopped or lost."""
        pause = _FIRST_LINGER
        while not (self._stopped.wait(pause) or self._signals.lost):
            try:
                pause = call()
            except TransientError as transient:
                if not self._stopped.is_set():
                    log.warning("the heartbeat waits: %s", transient)
                pause = min(self._interval, max(_RETRY_INTERVAL, transient.retry_after))
            except LeaseLost as error:
                self._signals.lease_lost(error)
            except Exception:
                # Error boundary: a thread that ended here would leave a build without its lease.
                log.exception("a heartbeat failed")
                pause = min(self._interval, _RETRY_INTERVAL)

    def _renew(self) -> float:
        pace = self._interval * random.uniform(0.8, 1.0)  # noqa: S311  jitter
        begun = time.monotonic()
        # After the order to cancel there is no other to wait for.
        directive, held = self._api.renew(0 if self._signals.cancel else round(pace))
        self._signals.apply(directive)
        elapsed = time.monotonic() - begun
        if not held or directive.cancel:
            return max(0.0, pace - elapsed)
        if elapsed < held:  # that API process shuts down; another one will answer
            return _RETRY_INTERVAL * random.uniform(0.5, 1.0)  # noqa: S311  jitter
        return 0.0

    def _send_progress(self) -> float:
        self._changed.wait()
        if self._stopped.wait(_FIRST_LINGER):
            return 0.0
        self._changed.clear()
        try:
            self._signals.apply(self._api.send_progress(self._progress()))
        except Exception:
            self._changed.set()
            raise
        return 0.0
