"""The API's check: it answers where clients look for it, is ready, and runs with these settings."""

from collections.abc import Iterator
from typing import Any, Final

import httpx

from app.config.settings import Settings
from app.contract import paths
from app.contract.doctor import Finding, ahead_by, clock
from app.contract.sealing import fingerprint
from app.doctor.redact_url import failure

_CHECK: Final = "API"


async def check_api(settings: Settings, http: httpx.AsyncClient) -> list[Finding]:
    """Return the findings about the running API, asked over HTTP."""
    url = settings.api_url.rstrip("/")
    try:
        ready = await http.get(url + paths.READYZ)
        metadata = await http.get(url + paths.PROTECTED_RESOURCE)
    except httpx.HTTPError as error:
        return [
            Finding.wrong(
                _CHECK,
                f"does not answer at {url}: {failure(error)}",
                "see that `baton api` runs and that BATON_API_URL is where clients and workers "
                "reach it",
            )
        ]
    found = [_readiness(url, ready)]
    found += _compare_settings(settings, metadata)
    ahead = ahead_by(ready.headers.get("date"))
    if ahead is not None:
        found.append(clock("the API's", ahead, leeway=settings.leeway))
    return found


def _readiness(url: str, answer: httpx.Response) -> Finding:
    try:
        checks: Any = answer.json()["checks"]
        missing = [name for name, state in checks.items() if state != "ok"]
    except (ValueError, KeyError, TypeError, AttributeError):
        return Finding.wrong(
            _CHECK,
            f"something answers at {url}, and it is not Baton (status {answer.status_code})",
            "see BATON_API_URL, and what stands before the API",
        )
    if missing:
        return Finding.wrong(
            _CHECK,
            f"answers at {url}, but does not get to its {', '.join(missing)}",
            "the API runs elsewhere: what is fine from here may not be from there; see its log",
        )
    return Finding.ok(_CHECK, f"answers at {url} and is ready")


def _compare_settings(settings: Settings, answer: httpx.Response) -> Iterator[Finding]:
    """Yield a finding if the running API was started with another issuer than these settings."""
    try:
        document: Any = answer.json()
        issuers = document["authorization_servers"]
    except (ValueError, KeyError, TypeError):
        return  # the finding before says that something else answers there
    if issuers != [settings.issuer]:
        named = ", ".join(map(str, issuers))
        yield Finding.wrong(
            _CHECK,
            f"runs with other settings than these: its issuer is {named}",
            "start the API again, or run this with its settings",
        )


async def check_dashboard(settings: Settings) -> list[Finding]:
    """Return whether users can sign in to the dashboard."""
    if settings.dashboard_client_id is None:
        return [
            Finding.untried(
                "dashboard",
                "nobody can sign in there: BATON_DASHBOARD_CLIENT_ID is not set",
                "set it to a public client's id (docs/dashboard.md)",
            )
        ]
    return [Finding.ok("dashboard", f"signs in as the client {settings.dashboard_client_id}")]


async def check_message_keys(settings: Settings) -> list[Finding]:
    """Return the sealing key's fingerprint; `baton doctor --worker` shows the workers' side."""
    if settings.message_keys is None:
        return [
            Finding.untried(
                "message keys", "none: tokens stand open in the broker, as only development allows"
            )
        ]
    first, *_ = settings.message_keys.get_secret_value().replace(",", " ").split()
    return [
        Finding.ok(
            "message keys",
            f"seals with {fingerprint(first)}; `baton doctor --worker` must show it on each "
            "worker's machine",
        )
    ]
