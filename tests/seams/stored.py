"""Calls on the store, as tests make them."""

import hashlib
import json
from dataclasses import replace

from app.builds.ids import BuildIds
from app.builds.model import Credential
from app.builds.store import BuildStore
from app.builds.store.results import Claimed, Finish, Taken
from app.contract.status import Status

SPEC = '{"steps":[{"name":"a","run":"true"}]}'
IDS = BuildIds()


async def submit(
    store: BuildStore,
    owner: str = "auth0|ann",
    *,
    key: tuple[str, str] | None = None,
    spec: str = SPEC,
    labels: dict[str, str] | None = None,
) -> str:
    build_id, _ = await store.records.submit(
        build_id=IDS.new(),
        owner=owner,
        spec_json=spec,
        timeout=60,
        max_wait=600,
        retry_of=None,
        idempotency=key,
        idempotency_ttl=60,
        labels=labels,
    )
    return build_id


async def take(
    store: BuildStore, *, window: int = 100, limit: int = 100, hold: float = 60
) -> Taken | None:
    return await store.dispatching.take(window=window, limit=limit, hold=hold)


async def dispatch(store: BuildStore, *, queue_ttl: float = 60) -> tuple[str, Credential]:
    """Take the next build and put its attempt on record, with a token named after both."""
    taken = await take(store)
    assert taken
    token_id = f"{taken.build_id}#{taken.attempt + 1}"
    assert await store.dispatching.sent(
        taken, token_id=token_id, facts_json="", queue_ttl=queue_ttl
    )
    return taken.build_id, Credential(user_id=taken.owner, token_id=token_id)


async def claim(
    store: BuildStore,
    build_id: str,
    credential: Credential,
    *,
    nonce: str = "nonce",
    lease: float = 60,
) -> Claimed:
    return await store.leases.claim(
        build_id,
        credential,
        nonce=nonce,
        worker="host:1",
        lease_id=f"lease of {nonce}",
        lease=lease,
        after_timeout=60,
    )


def result(status: Status = Status.SUCCEEDED, log: bytes = b"") -> Finish:
    return Finish(
        status=status,
        reason="",
        message="",
        steps="[]",
        commit="",
        log_length=len(log),
        log_sha256=hashlib.sha256(log).hexdigest(),
        digest=json.dumps([status, log.hex()]),
    )


def with_tail(log: bytes, tail: bytes) -> Finish:
    """A result that brings `tail`, with which its log is `log`."""
    return replace(result(log=log), tail=tail, log_limit=1000)


async def append(
    store: BuildStore, build: str, who: Credential, offset: int, data: bytes, limit: int = 1000
) -> int:
    end, _ = await store.leases.append(
        build, who, lease_id="lease of nonce", lease=60, offset=offset, limit=limit, data=data
    )
    return end


async def expire(
    store: BuildStore, *, hold: bool = False, max_attempts: int = 3, retention: float = 3600
) -> list[str]:
    expired = await store.dispatching.expire(
        hold=hold, max_attempts=max_attempts, max_wait=600, retention=retention
    )
    return [what for what, _ in expired.done]


async def status_of(store: BuildStore, build_id: str) -> Status:
    return (await store.records.get(build_id)).view.status
