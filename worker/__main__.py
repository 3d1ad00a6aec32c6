"""`python -m worker`: a Celery worker that runs builds, until it is told to stop.

`python -m worker --check` only looks whether it could, and prints what it finds (`worker.doctor`).
"""

import gc
import logging
import os
import sys
import warnings
from contextlib import suppress
from functools import cache, partial

import billiard.util
import celery.apps.worker
from celery.exceptions import CPendingDeprecationWarning, SecurityWarning
from celery.signals import (
    setup_logging,
    worker_process_init,
    worker_process_shutdown,
    worker_shutting_down,
)

from app.errors import SettingsError
from app.observability import tracing
from app.observability.log_format import LogFormat, log_to_stderr
from app.observability.tracing import Tracing
from app.process_hardening import hide_this_process
from worker import doctor
from worker.api_client import RunApi, connections
from worker.celery_app import create_celery, quieten
from worker.checkout import Checkout
from worker.dependencies import Dependencies
from worker.disk_quota import DiskLimits
from worker.doctor import sandbox_of
from worker.egress_proxy import AddressPolicy
from worker.errors import SandboxFailed
from worker.settings import WorkerSettings
from worker.shutdown import Shutdown
from worker.tasks import register

#: Seconds that a pool process takes at its end for the spans that have not arrived.
_TRACE_FLUSH_TIMEOUT = 1.0


def main() -> int:
    """Returns the exit code: 2 for a wrong setting or a sandbox that does not work."""
    if sys.argv[1:] == ["--check"]:
        return doctor.main(os.environ)
    try:
        settings = WorkerSettings.from_env(os.environ)
        traces = Tracing.from_env("baton-worker", os.environ)
        shown = _log_to_stderr(settings)
        hide_this_process()
        dependencies = _dependencies(settings, shown, traces)
    except (SettingsError, SandboxFailed) as error:
        sys.stderr.write(f"baton worker: {error}\n")
        return 2
    # Builds never run as root (the sandbox sees to it), and there is no pickle here.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    # About a setting that is set, and about messages acknowledged late, which none is.
    warnings.filterwarnings("ignore", category=CPendingDeprecationWarning)
    app = create_celery(settings)
    # In each pool process, as threads do not live through a fork.
    worker_process_init.connect(lambda **_: traces.start(), weak=False)
    worker_process_shutdown.connect(lambda **_: dependencies.sandbox.close(), weak=False)
    worker_process_shutdown.connect(lambda **_: traces.stop(_TRACE_FLUSH_TIMEOUT), weak=False)
    worker_shutting_down.connect(lambda **_: dependencies.shutdown.begin(), weak=False)
    register(app, dependencies, settings.seal)
    worker = app.Worker(
        hostname=f"baton@{settings.worker_name}",
        concurrency=settings.worker_concurrency,
        pool="prefork",
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        quiet=True,
    )
    logging.getLogger("worker").info(
        "sandbox %s, %d builds at once", dependencies.sandbox.name, settings.worker_concurrency
    )
    # The pool looks for garbage before each fork.
    gc.freeze()
    gc.enable()
    worker.start()
    return int(worker.exitcode or 0)


def _log_to_stderr(settings: WorkerSettings) -> LogFormat:
    shown = LogFormat(settings.log_format, settings.secrets(), tracing.ids)
    log_to_stderr(settings.log_level, shown)
    # How Celery prints what it does on a signal, to stdout and between empty lines.
    celery.apps.worker.safe_say = partial(  # type: ignore[attr-defined]
        _say, shown, "celery.apps.worker"
    )
    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # Celery sets the root logger to WARNING, unless somebody answers this signal.
    setup_logging.connect(_take_billiards_lines, weak=False)
    quieten()
    return shown


def _take_billiards_lines(**_: object) -> None:
    """The library of Celery's pool keeps its lines from the root logger, when it makes its own."""
    pool = billiard.util.get_logger()
    pool.setLevel(logging.ERROR)
    pool.propagate = True


def _say(shown: LogFormat, name: str, words: str, *_: object) -> None:
    """Celery silences loggers in signal handlers, and a buffered stream may be in use."""
    with suppress(OSError):  # nobody reads it any more
        os.write(2, f"{shown.line(name, words)}\n".encode())


def _dependencies(settings: WorkerSettings, shown: LogFormat, traces: Tracing) -> Dependencies:
    proof_key = settings.proof_key
    # Made in each pool process when its first build begins.
    http = cache(partial(connections, settings.api_url))

    def connect(build_id: str, token: str) -> RunApi:
        return RunApi(http(), build_id=build_id, token=token, proof_key=proof_key)

    return Dependencies(
        connect=connect,
        sandbox=sandbox_of(settings),
        checkout=Checkout(
            protocols=settings.git_protocols,
            policy=AddressPolicy(settings.git_networks),
            ssh_key=settings.git_ssh_key,
            ssh_known_hosts=settings.git_ssh_known_hosts,
        ),
        worker_name=settings.worker_name,
        network=settings.sandbox_network,
        disk=DiskLimits(disk_bytes=settings.sandbox_disk, files=settings.sandbox_files),
        shutdown=Shutdown(settings.shutdown_grace, partial(_say, shown, "worker.shutdown")),
        traces=traces,
    )


if __name__ == "__main__":
    sys.exit(main())
