"""Keeping the lease, and hearing what the API wants."""

import logging
import random
import threading
from collections.abc import Callable
from typing import Final

from app.contract.log_context import here
from app.contract.runs import Directive, Progress
from worker.api_client import Noise, RunApi
from worker.errors import LeaseLost

log = logging.getLogger(__name__)

#: Seconds between tries while the API gives no verdict.
_PAUSE: Final = 1.0


class Orders:
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
    """Renews the lease from a thread of its own, with the steps so far when they changed.

    Noise never ends a build: the heartbeat goes on trying, and the API decides who holds it.
    """

    def __init__(
        self,
        *,
        api: RunApi,
        orders: Orders,
        lease_seconds: float,
        progress: Callable[[], Progress],
    ) -> None:
        self._api = api
        self._orders = orders
        self._interval = lease_seconds / 3
        self._progress = progress
        self._changed = threading.Event()
        self._stopped = False
        self._thread = threading.Thread(target=here(self._run), name="heartbeat", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def tell(self) -> None:
        """The steps have changed: say so soon."""
        self._changed.set()

    def stop(self) -> None:
        self._stopped = True
        self._changed.set()
        self._thread.join()

    def _run(self) -> None:
        wait = 0.0
        changed = True
        while True:
            if self._changed.wait(wait):
                changed = True
                self._changed.clear()
            if self._stopped or self._orders.lost:
                return
            try:
                self._orders.heard(self._api.renew(self._progress() if changed else None))
            except Noise as noise:
                log.warning("the heartbeat waits: %s", noise)
                wait = min(self._interval, max(_PAUSE, noise.retry_after))
            except LeaseLost as error:
                self._orders.lose(error)
                return
            except Exception:
                # A door: a surprise here must not end in a build that runs without its lease.
                log.exception("a heartbeat failed")
                wait = min(self._interval, _PAUSE)
            else:
                changed = False
                wait = self._interval * random.uniform(0.8, 1.0)  # noqa: S311  jitter
