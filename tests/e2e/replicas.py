"""Two API replicas over one store, and calls to them that many clients make at once."""

import asyncio
import hashlib
import json
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import redis

from app.contract.queue import QUEUE, TOKEN_HEADER
from tests.support.stack import Stack
from tests.support.waiting import wait_until

CLIENTS = 20


@dataclass(kw_only=True)
class Replicas:
    """One stack with two API processes and no worker: the test is the worker."""

    stack: Stack
    urls: list[str]

    def message(self, build_id: str, *, but: str = "") -> str:
        """The token in the build's message, as its worker gets it; another one than `but`."""
        seal = self.stack.seal
        found: list[str] = []

        def there() -> bool:
            with redis.Redis.from_url(self.stack.redis.url) as broker:
                for raw in broker.lrange(QUEUE, 0, -1):
                    headers = json.loads(raw)["headers"]
                    if build_id in headers["argsrepr"]:
                        token = seal.open(headers[TOKEN_HEADER], purpose=build_id)
                        if token != but:
                            found.append(token)
            return bool(found)

        wait_until("the build is dispatched", there)
        return found[0]


@contextmanager
def started(folder: Path) -> Iterator[Replicas]:
    with Stack(
        folder,
        BATON_LEASE="60",
        BATON_USER_CONCURRENCY="500",
        BATON_DISPATCH_WINDOW="500",
    ) as stack:
        _, other = stack.replica()
        yield Replicas(stack=stack, urls=[stack.api_url, other])


async def at_once(
    replicas: Replicas, token: str, call: Callable[[httpx.AsyncClient], Awaitable[httpx.Response]]
) -> list[httpx.Response]:
    """What `CLIENTS` clients hear who make the same call, each on a connection of its own that is
    open already, half of them at either replica."""
    clients = [
        httpx.AsyncClient(
            base_url=replicas.urls[number % 2],
            headers={"Authorization": f"Bearer {token}"},
            timeout=30,
        )
        for number in range(CLIENTS)
    ]
    try:
        await asyncio.gather(*(client.get("/healthz") for client in clients))
        return await asyncio.gather(*(call(client) for client in clients))
    finally:
        await asyncio.gather(*(client.aclose() for client in clients))


@dataclass(kw_only=True)
class Holder:
    """A worker with a claim, whose every call can be made many times at once."""

    replicas: Replicas
    build_id: str
    token: str
    lease: str
    nonce: str
    log_offset: int

    @classmethod
    async def claims(cls, replicas: Replicas, build_id: str, *, but: str = "") -> "Holder":
        """Every client sends the same claim: they are one worker, whose answers got lost."""
        token = replicas.message(build_id, but=but)
        body = {"nonce": uuid.uuid4().hex, "worker": "the test"}
        answers = await at_once(
            replicas, token, lambda client: client.post(f"/builds/{build_id}/claim", json=body)
        )
        assert {answer.status_code for answer in answers} == {200}
        [lease] = {answer.json()["lease_id"] for answer in answers}
        [offset] = {answer.json()["log_offset"] for answer in answers}
        return cls(
            replicas=replicas, build_id=build_id, token=token, lease=lease,
            nonce=body["nonce"], log_offset=offset,
        )  # fmt: skip

    async def says(
        self, method: str, path: str = "", body: Any = None, *, offset: int | None = None
    ) -> list[httpx.Response]:
        headers = {"Baton-Lease": self.lease, "Content-Type": "application/json"}
        content = body if isinstance(body, bytes) else json.dumps(body).encode() if body else b""
        if offset is not None:
            start = self.log_offset + offset
            headers["Content-Range"] = f"bytes {start}-{start + len(content) - 1}/*"
            headers["Content-Type"] = "application/octet-stream"
        return await at_once(
            self.replicas,
            self.token,
            lambda client: client.request(
                method, f"/builds/{self.build_id}{path}", content=content, headers=headers
            ),
        )

    def result(self, log: bytes, status: str = "succeeded") -> dict[str, Any]:
        return {
            "status": status,
            "log_length": self.log_offset + len(log),
            "log_sha256": hashlib.sha256(log).hexdigest(),
        }
