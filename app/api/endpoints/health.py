"""Monitoring asks here for liveness, readiness and metrics."""

import asyncio
import logging
import time
from typing import Any, Final

from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.api.state import Check, state

log = logging.getLogger(__name__)

#: Seconds that a check may take, and for which its result is cached.
_CHECK_TIMEOUT: Final = 5.0
_CHECK_TTL: Final = 1.0


class CachedCheck:
    """A `CachedCheck` runs a check at most once a second, however many requests ask for it."""

    def __init__(self, name: str, check: Check) -> None:
        self._name = name
        self._check = check
        self._lock = asyncio.Lock()
        self._checked_at = -_CHECK_TTL
        self._error: str | None = None

    async def __call__(self) -> None:
        """Return when the check passes. Raises `RuntimeError` with one word otherwise."""
        async with self._lock:
            if time.monotonic() - self._checked_at >= _CHECK_TTL:
                self._error = await self._run()
                self._checked_at = time.monotonic()
        if self._error:
            raise RuntimeError(self._error)

    async def _run(self) -> str | None:
        try:
            async with asyncio.timeout(_CHECK_TIMEOUT):
                await self._check()
        except Exception as error:  # noqa: BLE001  whatever is wrong, the answer is "not ready"
            log.warning("not ready: %s: %s", self._name, error)
            return "unavailable"
        return None


async def healthz(request: Request) -> Response:
    """Answer that the process is alive; nothing else is checked."""
    del request
    return JSONResponse({"status": "ok"})


async def readyz(request: Request) -> Response:
    """Answer which of store, broker and issuer's keys are available; 503 unless all are."""
    checks = state(request).checks
    results = await asyncio.gather(*(check() for check in checks.values()), return_exceptions=True)
    states = {
        name: "ok" if result is None else str(result)
        for name, result in zip(checks, results, strict=True)
    }
    ready = all(state == "ok" for state in states.values())
    body: dict[str, Any] = {"status": "ok" if ready else "unavailable", "checks": states}
    return JSONResponse(body, 200 if ready else 503, {} if ready else {"Retry-After": "2"})


async def metrics(request: Request) -> Response:
    """Answer with the metrics of this process and of all builds, for Prometheus."""
    text = await state(request).metrics.text()
    return Response(text, headers={"Content-Type": CONTENT_TYPE_LATEST})
