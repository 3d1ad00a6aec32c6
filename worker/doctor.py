"""`python -m worker --check` checks whether a worker could work here, for `baton doctor`.

It writes one `Finding` a line to stdout, as JSON. It takes nothing from the queue and claims no
build.
"""

import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Final
from urllib.parse import urlsplit

import httpx
from kombu.exceptions import OperationalError

from app.contract import paths, queue as wire
from app.contract.doctor import Finding, ahead_by, clock
from app.contract.sealing import fingerprint
from app.errors import SettingsError
from worker.celery_app import create_celery
from worker.errors import SandboxFailed
from worker.sandbox import Limits, Sandbox
from worker.sandbox.choice import choose
from worker.settings import WorkerSettings

#: Seconds for the broker and the API each.
_CONNECT_TIMEOUT: Final = 5

#: Seconds by which clocks may differ before DPoP proofs are refused; a worker cannot set it.
_LEEWAY: Final = 30.0


def main(environ: Mapping[str, str]) -> int:
    """Run all checks; return the exit code, 2 for wrong settings, which end it before any check."""
    logging.disable(logging.CRITICAL)  # what matters is among the findings
    try:
        settings = WorkerSettings.from_env(environ)
    except SettingsError as error:
        for sentence in error.sentences:
            _write(Finding.wrong("worker settings", sentence, "docs/settings.md has all of them"))
        return 2
    for check in (_sandbox, _message_keys, _broker, _api):
        for finding in _guarded(check, settings):
            _write(finding)
    return 0


def sandbox_of(settings: WorkerSettings) -> Sandbox:
    """Return the sandbox of these settings, which has just run a command.

    Raises `SandboxFailed`.
    """
    return choose(
        settings.sandbox,
        development=settings.development,
        network=settings.sandbox_network,
        limits=Limits(
            memory_bytes=settings.sandbox_memory,
            processes=settings.sandbox_processes,
            file_bytes=settings.sandbox_file_size,
        ),
        workspaces=settings.workspaces,
        run_as=settings.sandbox_user,
    )


def _write(finding: Finding) -> None:
    sys.stdout.write(finding.model_dump_json() + "\n")
    sys.stdout.flush()


def _guarded(
    check: Callable[[WorkerSettings], Iterator[Finding]], settings: WorkerSettings
) -> Iterator[Finding]:
    """Run one check; turn an error of its own into a finding, so that the others still run."""
    try:
        yield from check(settings)
    except Exception as error:  # noqa: BLE001  error boundary
        name = check.__name__.strip("_").replace("_", " ")
        yield Finding.wrong(name, f"the check itself failed ({type(error).__name__})")


def _sandbox(settings: WorkerSettings) -> Iterator[Finding]:
    try:
        sandbox = sandbox_of(settings)
    except SandboxFailed as error:
        advice = "docs/sandboxes.md says what they need, in containers too"
        yield Finding.wrong("sandbox", f"builds cannot run here: {error}", advice)
        return
    walls = "builds are walled off" if sandbox.name != "process" else "builds are not walled off"
    yield Finding.ok("sandbox", f"a command ran in {sandbox.name}; {walls} from this machine")


def _message_keys(settings: WorkerSettings) -> Iterator[Finding]:
    if settings.message_keys is None:
        yield Finding.untried(
            "message keys", "none: tokens stand open in the broker, as only development allows"
        )
        return
    keys = settings.message_keys.get_secret_value().replace(",", " ").split()
    shown = ", ".join(fingerprint(key) for key in keys)
    yield Finding.ok("message keys", f"opens with {shown}; the API must seal with one of these")


def _broker(settings: WorkerSettings) -> Iterator[Finding]:
    place = urlsplit(settings.broker).netloc.rpartition("@")[2] or "its socket"
    app = create_celery(settings)
    connection = app.connection_for_read()
    errors: tuple[type[BaseException], ...] = (
        OperationalError,
        OSError,
        *connection.connection_errors,
        *connection.channel_errors,
    )
    try:
        connection.ensure_connection(max_retries=1, interval_start=0, timeout=_CONNECT_TIMEOUT)
        if wire.is_amqp(settings.broker):
            connection.connection.sock.settimeout(_CONNECT_TIMEOUT)
        app.amqp.queues[wire.QUEUE](connection.default_channel).declare()
    except errors as error:
        cause = error.__cause__ or error
        yield Finding.wrong(
            "broker",
            f"the broker at {place} does not take us: {type(cause).__name__}: {cause}",
            "see BATON_BROKER_URL, its user and password, and that this machine reaches it",
        )
    else:
        yield Finding.ok("broker", f"the broker at {place} has the queue {wire.QUEUE}")
    finally:
        connection.collect()
        app.close()


def _api(settings: WorkerSettings) -> Iterator[Finding]:
    url = settings.api_url.rstrip("/")
    try:
        answer = httpx.get(url + paths.HEALTHZ, timeout=_CONNECT_TIMEOUT)
        answer.raise_for_status()
    except httpx.HTTPError as error:
        yield Finding.wrong(
            "API",
            f"does not answer at {url}: {type(error).__name__}: {error}",
            "see BATON_API_URL, and that this machine reaches it: all of a worker's calls go there",
        )
        return
    yield Finding.ok("API", f"answers at {url}")
    ahead = ahead_by(answer.headers.get("date"))
    if ahead is not None:
        yield clock("the API's", ahead, leeway=_LEEWAY)
