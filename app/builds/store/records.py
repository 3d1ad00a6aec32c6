"""Builds on record: submitted, found, listed, and cancelled by their owners."""

import json
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any, Final

from redis.asyncio import Redis

from app.builds import errors
from app.builds.model import NO_TOKENS, Build, PrefetchedTokens
from app.builds.store import keys
from app.builds.store.connection import answering
from app.builds.store.label_search import labelled
from app.builds.store.scripts import Scripts, ms, refusal
from app.contract.status import Status

#: Bytes of specs and steps on one page of builds.
_MAX_PAGE_BYTES: Final = 4 * 1024 * 1024
#: Builds that a user may have queued where nobody says how many.
_NO_LIMIT: Final = 2**53


class Records:
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
        """Record a new build, and what was prefetched for it, and queue it.

        `labels` are the spec's, to be found by. `idempotency` is a key and the digest of the body;
        `trace` is for whoever takes the build.
        Returns the build's id and its creation time in milliseconds, or None for the time when the
        key has made that build before.
        Raises `KeyReused` when it was with another body, and `QueueFull` when `queue_limit` builds
        of the owner are queued and this one would be new.
        """
        key, digest = idempotency or ("", "")
        answer = await self._scripts.run(
            "submit", build_id, owner, spec_json, timeout, ms(max_wait), retry_of or "",
            key, digest, ms(idempotency_ttl), queue_limit, json.dumps(labels) if labels else "",
            trace, ms(prefetched.lasts), *prefetched.sealed,
        )  # fmt: skip
        word = answer[0]
        if word == b"queue_full":
            raise errors.QueueFull(queue_limit)
        if word == b"key_reused":
            raise errors.KeyReused(errors.KeyReused.__doc__)
        return answer[1].decode(), int(answer[2]) if word == b"new" else None

    async def submitted(self, owner: str, idempotency: tuple[str, str]) -> str | None:
        """The build that this key made before, None if there is none. Raises `KeyReused`."""
        key, digest = idempotency
        async with answering():
            found: Any = await self._redis.hmget(keys.idempotency(owner, key), "id", "digest")
            build_id = str(found[0] or b"", "ascii")
            if not build_id or not await self._redis.exists(keys.build(build_id)):
                return None
        if found[1].decode() != digest:
            raise errors.KeyReused(errors.KeyReused.__doc__)
        return build_id

    async def check_room(self, owner: str, queue_limit: int) -> None:
        """Raises `QueueFull` when one more build of this owner would most likely be refused."""
        async with answering():
            queued: int = await self._redis.zcard(keys.index(owner, Status.QUEUED))
        if queued >= queue_limit:
            raise errors.QueueFull(queue_limit)

    async def get(self, build_id: str) -> Build:
        """Raises `NotFound`."""
        async with answering():
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
        """Up to `limit` builds of an owner, newest first, older than the id `before`.

        With `labels` (`name` or `name:value`), those that have all of them. Returns the builds and
        the id that the next page is before, None after the last. A page of large builds is shorter,
        so that nobody's list fills the memory of this process; and one of rare labels may be short
        or empty with more to come, so that no call looks through a whole history.
        """
        index = keys.index(owner, status or "all")
        async with answering():
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
        """Up to `limit` ids of an index below `before`, and the id that the next are below."""
        found: Any = await self._redis.zrevrangebylex(
            index, f"({before}" if before else "+", "-", 0, limit + 1
        )
        ids = [build_id.decode() for build_id in found]
        return ids[:limit], ids[limit - 1] if len(ids) > limit else None

    async def _fitting(self, ids: list[str]) -> list[str]:
        """The first of these builds, at least one, whose records fit on a page."""
        pipe = self._redis.pipeline(transaction=False)
        for build_id in ids:
            pipe.hstrlen(keys.build(build_id), "spec")
            pipe.hstrlen(keys.build(build_id), "steps")
        sizes = await pipe.execute()
        totals = accumulate(map(sum, zip(sizes[::2], sizes[1::2], strict=True)))
        return ids[: max(1, sum(total <= _MAX_PAGE_BYTES for total in totals))]

    async def cancel(self, build_id: str, owner: str, *, who: str) -> None:
        """Raises `NotFound`, `NotCancellable`."""
        answer = await self._scripts.run("cancel", build_id, owner, who)
        if answer[0] == b"final":
            raise errors.NotCancellable(Status(answer[1].decode()))
        if answer[0] != b"ok":
            raise refusal(answer)
