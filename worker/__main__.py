"""`python -m worker` runs a Celery worker, which runs builds until SIGTERM.

`python -m worker --check` runs no build: it checks whether this machine could (`worker.doctor`).
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
    """Run the worker; return the exit code, 2 for a wrong setting or a sandbox that fails."""
    if sys.argv[1:] == ["--check"]:
        return doctor.main(os.environ)
    try:
        settings = WorkerSettings.from_env(os.environ)
        traces = Tracing.from_env("baton-worker", os.environ)
        log_format = _log_to_stderr(settings)
        hide_this_process()
        dependencies = _dependencies(settings, log_format, traces)
    except (SettingsError, SandboxFailed) as error:
        sys.stderr.write(f"baton worker: {error}\n")
        return 2
    # Celery warns of root and of pickle: the sandbox never runs a build as root, and messages are
    # JSON.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    # Celery warns of a setting that is set here, and of late acknowledgements, which are off.
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
    # The pool collects garbage before each fork: what is imported need not be searched again.
    gc.freeze()
    gc.enable()
    worker.start()
    return int(worker.exitcode or 0)


def _log_to_stderr(settings: WorkerSettings) -> LogFormat:
    log_format = LogFormat(settings.log_format, settings.secrets(), tracing.ids)
    log_to_stderr(settings.log_level, log_format)
    # Celery announces a shutdown by `safe_say`, on stdout and between empty lines.
    celery.apps.worker.safe_say = partial(  # type: ignore[attr-defined]
        _write_line, log_format, "celery.apps.worker"
    )
    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # Celery sets the root logger to WARNING, unless this signal has a receiver.
    setup_logging.connect(_propagate_billiard_log, weak=False)
    quieten()
    return log_format


def _propagate_billiard_log(**_: object) -> None:
    """Hand billiard's errors to the root logger: its own logger, once made, does not propagate."""
    pool = billiard.util.get_logger()
    pool.setLevel(logging.ERROR)
    pool.propagate = True


def _write_line(log_format: LogFormat, name: str, message: str, *_: object) -> None:
    """Write a log line from a signal handler, unbuffered.

    Celery silences loggers in signal handlers, and the interrupted code may be writing to a
    buffered stream.
    """
    with suppress(OSError):  # stderr has no reader any more
        os.write(2, f"{log_format.line(name, message)}\n".encode())


def _dependencies(settings: WorkerSettings, log_format: LogFormat, traces: Tracing) -> Dependencies:
    proof_key = settings.proof_key
    # Each pool process makes its own, at its first build: connections do not survive a fork.
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
        shutdown=Shutdown(
            settings.shutdown_grace, partial(_write_line, log_format, "worker.shutdown")
        ),
        traces=traces,
    )


if __name__ == "__main__":
    sys.exit(main())
