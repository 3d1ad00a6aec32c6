"""Somebody who has every token and every lease there was, and tries them after the ends."""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from app.contract import paths
from app.contract.problems import Problem
from app.contract.runs import LEASE_HEADER

_AT_ONCE: Final = 8
_TRIES: Final = 20  #: of a call that is answered with 503
_NO_LOG: Final = "0" * 64

_RESULT: Final = {
    "status": "errored", "reason": "worker_failed", "message": "stolen", "steps": [],
    "log_length": 0, "log_sha256": _NO_LOG,
}  # fmt: skip
_CLAIM: Final = {"nonce": "thief-thief-thief", "worker": "thief:1"}


@dataclass(kw_only=True, slots=True)
class Loot:
    tried: int = 0  #: tokens
    #: Calls that were answered with anything but a refusal of ours, in words.
    accepted: list[str] = field(default_factory=list)


def _calls(build_id: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every call that a worker may make, as method, path and the rest."""
    build, log = paths.of(paths.BUILD, build_id), paths.of(paths.LOG, build_id)
    yield "POST", paths.of(paths.CLAIM, build_id), {"json": _CLAIM}
    yield "POST", paths.of(paths.HEARTBEAT, build_id), {}
    yield "PUT", build, {"json": {"status": "running", "steps": []}}
    yield "PUT", build, {"json": {"status": "queued"}}
    yield "PUT", build, {"json": _RESULT}
    yield "POST", build, {"json": _RESULT}
    yield "PATCH", log, {
        "content": b"stolen", "headers": {
            "Content-Range": "bytes 0-5/*", "Content-Type": "application/octet-stream",
        },
    }  # fmt: skip


async def steal(url: str, tokens: Mapping[str, set[str]], leases: Mapping[str, set[str]]) -> Loot:
    """Try each build's tokens on each call, with a lease that it had; all builds have ended."""
    loot = Loot()
    slots = asyncio.Semaphore(_AT_ONCE)
    async with httpx.AsyncClient(base_url=url, timeout=30) as http:

        async def one(build_id: str, token: str) -> None:
            async with slots:
                loot.tried += 1
                for lease in list(leases.get(build_id, [])) or ["no-lease-was-seen"]:
                    for method, path, rest in _calls(build_id):
                        more = {"Authorization": f"Bearer {token}", LEASE_HEADER: lease}
                        headers = rest.get("headers", {}) | more
                        answer = await _verdict(http, method, path, rest | {"headers": headers})
                        if not _refused(answer):
                            loot.accepted.append(
                                f"{method} {path}: {answer.status_code} {answer.text[:200]}"
                            )

        await asyncio.gather(
            *(one(build_id, token) for build_id, held in tokens.items() for token in held)
        )
    return loot


async def _verdict(
    http: httpx.AsyncClient, method: str, path: str, rest: dict[str, Any]
) -> httpx.Response:
    """The answer, once it is more than `not now`: after an outage of the store a few are that."""
    for _ in range(_TRIES - 1):
        answer = await http.request(method, path, **rest)
        if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
            return answer
    return await http.request(method, path, **rest)


def _refused(answer: httpx.Response) -> bool:
    if not answer.is_client_error:
        return False
    return Problem.model_validate_json(answer.content).code is not None
