"""All checks run at once, each within a time limit, and independent of the others."""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from typing import Final

import httpx

from app.config.settings import Settings
from app.contract.doctor import Finding
from app.doctor.api import check_api, check_dashboard, check_message_keys
from app.doctor.broker import check_broker
from app.doctor.issuer import check_issuer
from app.doctor.minting import check_minting
from app.doctor.store import check_store
from app.doctor.worker import check_sandbox, check_worker
from app.errors import SettingsError

#: Seconds for each check; minting retries for as long as dispatch does, which is 20.
_CHECK_TIMEOUT: Final = 30.0
#: Seconds for each HTTP response.
_ANSWER_TIMEOUT: Final = 10.0


async def examine(
    environ: Mapping[str, str], user_token: str | None = None, *, most: float = _CHECK_TIMEOUT
) -> list[Finding]:
    """Return what is right and wrong with the service that has these settings (`BATON_…`).

    `user_token` is checked as well, and needed where build tokens are exchanged for users'. No
    check takes more than `most` seconds. Raises `SettingsError` for settings with which no check
    can run.
    """
    settings = Settings.from_env(environ)
    async with httpx.AsyncClient(timeout=_ANSWER_TIMEOUT, trust_env=True) as http:
        checks: dict[str, Awaitable[list[Finding]]] = {
            "store": check_store(settings),
            "broker": check_broker(settings),
            "message keys": check_message_keys(settings),
            "issuer": check_issuer(settings, http),
            "minting": check_minting(settings, http, user_token),
            "API": check_api(settings, http),
            "dashboard": check_dashboard(settings),
            "sandbox": check_sandbox(_for_worker(environ, settings)),
        }
        return await _run_all(checks, most)


async def examine_worker(environ: Mapping[str, str]) -> list[Finding]:
    """Return what is right and wrong on a worker's machine."""
    return await _run_all({"worker": check_worker(environ)}, _CHECK_TIMEOUT)


def _for_worker(environ: Mapping[str, str], settings: Settings) -> dict[str, str]:
    """Return a worker's variables: it has no default for the API's URL."""
    return {**environ, "BATON_API_URL": settings.api_url}


async def _run_all(checks: Mapping[str, Awaitable[list[Finding]]], most: float) -> list[Finding]:
    bounded = [_run(name, check, most) for name, check in checks.items()]
    found: Sequence[list[Finding]] = await asyncio.gather(*bounded)
    return [finding for each in found for finding in each]


async def _run(name: str, check: Awaitable[list[Finding]], most: float) -> list[Finding]:
    try:
        async with asyncio.timeout(most):
            return await check
    except TimeoutError:
        return [Finding.wrong(name, f"no answer within {most:g} s")]
    except SettingsError as error:
        return [Finding.wrong(name, sentence) for sentence in error.sentences]
    except Exception as error:  # noqa: BLE001  error boundary: one check does not stop the others
        return [Finding.wrong(name, f"the check itself failed ({type(error).__name__})")]
