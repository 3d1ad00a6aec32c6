"""`Dependencies` holds the parts with which a pool process runs builds.

`worker.__main__` makes them once, before the pool forks.
"""

from collections.abc import Callable
from dataclasses import dataclass

from app.observability.tracing import OFF, Tracing
from worker.api_client import RunApi
from worker.checkout import Checkout
from worker.disk_quota import DiskLimits
from worker.sandbox import Sandbox
from worker.shutdown import Shutdown


@dataclass(frozen=True, kw_only=True, slots=True)
class Dependencies:
    connect: Callable[[str, str], RunApi]  #: takes a build's id and token; called after the fork
    sandbox: Sandbox
    checkout: Checkout
    worker_name: str
    network: bool  #: whether steps may use the network
    disk: DiskLimits
    shutdown: Shutdown
    traces: Tracing = OFF
