"""`Records` holds builds as their owners see them: submitted, read, listed and cancelled."""

import json
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any, Final

from redis.asyncio import Redis

from app.builds import errors
from app.builds.model import NO_TOKENS, Build, PrefetchedTokens
from app.builds.store import keys
from app.builds.store.connection import translate_errors
from app.builds.store.label_search import labelled
from app.builds.store.scripts import Scripts, ms, refusal
from app.contract.status import Status

#: Bytes of specs and steps on one page of builds.
_MAX_PAGE_BYTES: Final = 4 * 1024 * 1024
#: Builds that a user may have queued where the caller sets no limit.
_NO_LIMIT: Final = 2**53


class Records:
    """Every method raises `StoreUnavailable` when Redis does not answer."""

    def __init__(self, redis: "Redis", scripts: Scripts) -> None:
        self._redis = redis
        self._scripts = scripts

    async def submit(
        self,
        *,
        build_id: str,
        owner: str,
        spec_json: str,
        timeout: float,
        max_wait: float,
        retry_of: str | None,
        idempotency: tuple[str, str] | None,
        idempotency_ttl: float,
        labels: Mapping[str, str] | None = None,
        queue_limit: int = _NO_LIMIT,
        trace: str = "",
        prefetched: PrefetchedTokens = NO_TOKENS,
    ) -> tuple[str, int | None]:
        """Record a new build with its prefetched tokens, and queue it.

        `timeout`, `max_wait` and `idempotency_ttl` are in seconds. `idempotency` is a key and the
        digest of the body. `labels` are stored apart from the spec for the label search; `trace` is
        for the dispatcher.

        Returns the build's id, and its creation time in milliseconds since 1970; None for the time
        when the key made that build before. Raises `KeyReused` when it did so with another body,
        and `QueueFull` when the owner has `queue_limit` builds queued and this one would be new.
        """
        key, digest = idempotency or ("", "")
        answer = await self._scripts.run(
            "submit", build_id, owner, spec_json, timeout, ms(max_wait), retry_of or "",
            key, digest, ms(idempotency_ttl), queue_limit, json.dumps(labels) if labels else "",
            trace, ms(prefetched.ttl), *prefetched.sealed,
        )  # fmt: skip
        word = answer[0]
        if word == b"queue_full":
            raise errors.QueueFull(queue_limit)
        if word == b"key_reused":
            raise errors.KeyReused(errors.KeyReused.__doc__)
        return answer[1].decode(), int(answer[2]) if word == b"new" else None

    async def submitted(self, owner: str, idempotency: tuple[str, str]) -> str | None:
        """Return the build that this key made before, None if there is none. Raises `KeyReused`."""
        key, digest = idempotency
        async with translate_errors():
            found: Any = await self._redis.hmget(keys.idempotency(owner, key), "id", "digest")
            build_id = str(found[0] or b"", "ascii")
            if not build_id or not await self._redis.exists(keys.build(build_id)):
                return None
        if found[1].decode() != digest:
            raise errors.KeyReused(errors.KeyReused.__doc__)
        return build_id

    async def check_room(self, owner: str, queue_limit: int) -> None:
        """Raise `QueueFull` when one more build of this owner would most likely be refused."""
        async with translate_errors():
            queued: int = await self._redis.zcard(keys.index(owner, Status.QUEUED))
        if queued >= queue_limit:
            raise errors.QueueFull(queue_limit)

    async def get(self, build_id: str) -> Build:
        """Return a build. Raises `NotFound`."""
        async with translate_errors():
            record, length = await self._scripts.connection.calls(
                ("HGETALL", keys.build(build_id)), ("STRLEN", keys.log(build_id))
            )
        if isinstance(record, list):  # RESP2 has no dictionaries
            record = dict(zip(record[::2], record[1::2], strict=True))
        return self._build(record, length)

    @staticmethod
    def _build(record: Mapping[bytes, bytes], length: int) -> Build:
        if not record:
            raise errors.NotFound(errors.NotFound.__doc__)
        return Build.from_record({k.decode(): v.decode() for k, v in record.items()}, length)

    async def page(
        self,
        owner: str,
        *,
        status: Status | None,
        before: str | None,
        limit: int,
        labels: Sequence[str] = (),
    ) -> tuple[list[Build], str | None]:
        """Return up to `limit` builds of an owner, newest first, older than the id `before`.

        `labels` (`name` or `name:value`) select builds that have all of them. The second value is
        the id to pass as `before` next, None after the last page. A page of large builds is
        shorter, so that no list fills the memory of this process. A page of rare labels may be
        short or empty although more follow, so that no call scans a whole history.
        """
        index = keys.index(owner, status or "all")
        async with translate_errors():
            if labels:
                ids, following = await labelled(
                    self._redis, index, labels, before=before, limit=limit
                )
            else:
                ids, following = await self._newest(index, before=before, limit=limit)
            if not ids:
                return [], following
            some = await self._fitting(ids)
            pipe = self._redis.pipeline(transaction=False)
            for build_id in some:
                pipe.hgetall(keys.build(build_id))
                pipe.strlen(keys.log(build_id))
            answers = await pipe.execute()
        pairs = zip(answers[::2], answers[1::2], strict=True)
        builds = [self._build(record, length) for record, length in pairs if record]
        return builds, some[-1] if len(ids) > len(some) else following

    async def _newest(
        self, index: str, *, before: str | None, limit: int
    ) -> tuple[list[str], str | None]:
        """Return up to `limit` ids of an index below `before`, and the next page's `before`."""
        found: Any = await self._redis.zrevrangebylex(
            index, f"({before}" if before else "+", "-", 0, limit + 1
        )
        ids = [build_id.decode() for build_id in found]
        return ids[:limit], ids[limit - 1] if len(ids) > limit else None

    async def _fitting(self, ids: list[str]) -> list[str]:
        """Return the first of these builds, at least one, whose records fit on a page."""
        pipe = self._redis.pipeline(transaction=False)
        for build_id in ids:
            pipe.hstrlen(keys.build(build_id), "spec")
            pipe.hstrlen(keys.build(build_id), "steps")
        sizes = await pipe.execute()
        totals = accumulate(map(sum, zip(sizes[::2], sizes[1::2], strict=True)))
        return ids[: max(1, sum(total <= _MAX_PAGE_BYTES for total in totals))]

    async def cancel(self, build_id: str, owner: str, *, who: str) -> None:
        """End a queued build, or mark a running one for its worker; safe to call twice.

        Raises `NotFound`, `NotCancellable`.
        """
        answer = await self._scripts.run("cancel", build_id, owner, who)
        if answer[0] == b"final":
            raise errors.NotCancellable(Status(answer[1].decode()))
        if answer[0] != b"ok":
            raise refusal(answer)
