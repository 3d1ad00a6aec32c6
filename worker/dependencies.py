"""What runs builds in a process; made once, in `worker.__main__`."""

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
    connect: Callable[[str, str], RunApi]  #: to the API, for a build's id, with its token
    sandbox: Sandbox
    checkout: Checkout
    worker_name: str
    network: bool  #: whether steps may use the network
    disk: DiskLimits
    shutdown: Shutdown
    traces: Tracing = OFF
