"""`BuildStore`: what a build goes through, each step one script on Redis."""

import json
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from app.builds import errors
from app.builds.model import NO_TOKENS, Build, Credential, PrefetchedTokens
from app.builds.store import keys, scripts
from app.builds.store.connection import answering
from app.builds.store.label_search import labelled
from app.builds.store.pipelined import PipelinedConnection, Word
from app.builds.store.results import Claimed, Expired, Finish, Taken
from app.contract.status import Status

#: Bytes of specs and steps on one page of builds.
_PAGE_BYTES: Final = 4 * 1024 * 1024
#: Builds that a user may have queued where nobody says how many.
_NO_LIMIT: Final = 2**53
#: Users whose turns one look at the queue considers, to keep the script short.
_TURNS: Final = 100
#: Overdue builds that one run of the reaper takes of each kind, to keep the script short.
_EXPIRE_BATCH: Final = 100


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _refused(answer: Sequence[Any]) -> Exception:
    """The error for a script's word of refusal."""
    word = answer[0].decode()
    number = int(answer[1]) if word in {"gap", "conflict", "full", "incomplete"} else 0
    refusals: dict[str, Callable[[], Exception]] = {
        "missing": errors.NotFound,
        "wrong_build": errors.WrongBuild,
        "superseded": errors.Superseded,
        "held": errors.HeldByAnother,
        "lease_lost": errors.LeaseLost,
        "final": errors.BuildFinal,
        "gap": lambda: errors.LogGap(number),
        "conflict": lambda: errors.LogConflict(number),
        "full": lambda: errors.LogFull(number),
        "incomplete": lambda: errors.LogIncomplete(number),
    }
    return refusals[word]()


class BuildStore:
    """Every method raises `StoreUnavailable` when Redis does not answer in time.

    A call that failed so may have taken effect all the same; all of them may be repeated.
    """

    def __init__(self, redis: "Redis") -> None:
        self._redis = redis
        pool: Any = redis.connection_pool  # documented, but its type says otherwise
        self._connection = PipelinedConnection(pool)
        self._scripts = {
            name: redis.register_script(scripts.source(name)) for name in scripts.NAMES
        }

    async def _run(self, name: str, *args: Word) -> Any:  # noqa: ANN401  Lua's answer
        script = self._scripts[name]
        words = ("EVALSHA", str(script.sha), 1, keys.PREFIX, *args)
        async with answering():
            try:
                return await self._connection.call(*words)
            except NoScriptError:
                await self._connection.call("SCRIPT", "LOAD", str(script.script))
                return await self._connection.call(*words)

    async def ping(self) -> None:
        async with answering():
            await self._redis.ping()

    async def first_use(self, name: str, seconds: float) -> bool:
        """Whether nobody has named this in the last `seconds`."""
        async with answering():
            return bool(await self._redis.set(keys.used(name), b"", nx=True, px=_ms(seconds)))

    async def close(self) -> None:
        await self._connection.close()
        await self._redis.aclose()

    # ── users' calls ──────────────────────────────────────────────────────────────────────────

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
        answer = await self._run(
            "submit", build_id, owner, spec_json, timeout, _ms(max_wait), retry_of or "",
            key, digest, _ms(idempotency_ttl), queue_limit, json.dumps(labels) if labels else "",
            trace, _ms(prefetched.lasts), *prefetched.sealed,
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
            record, length = await self._connection.calls(
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
        return ids[: max(1, sum(total <= _PAGE_BYTES for total in totals))]

    async def cancel(self, build_id: str, owner: str, *, who: str) -> None:
        """Raises `NotFound`, `NotCancellable`."""
        answer = await self._run("cancel", build_id, owner, who)
        if answer[0] == b"final":
            raise errors.NotCancellable(Status(answer[1].decode()))
        if answer[0] != b"ok":
            raise _refused(answer)

    async def log_state(self, build_id: str) -> tuple[str, Status, int]:
        """The owner, status and log length of a build, read together. Raises `NotFound`."""
        async with answering():
            pipe = self._redis.pipeline(transaction=True)
            pipe.hmget(keys.build(build_id), "owner", "status")
            pipe.strlen(keys.log(build_id))
            (owner, status), length = await pipe.execute()
        if owner is None:
            raise errors.NotFound(errors.NotFound.__doc__)
        return owner.decode(), Status(status.decode()), length

    async def read_log(self, build_id: str, start: int, stop: int) -> bytes:
        """The bytes from `start` up to, not including, `stop`; fewer where the log ends."""
        if stop <= start:
            return b""
        async with answering():
            data: Any = await self._redis.getrange(keys.log(build_id), start, stop - 1)
        return bytes(data)

    # ── dispatch ──────────────────────────────────────────────────────────────────────────────

    async def take(self, *, window: int, limit: int, hold: float) -> Taken | None:
        """The next build of the next user, now being dispatched; None when there is none."""
        answer = [b"more"]
        while answer[0] == b"more":
            answer = await self._run("take", window, limit, _ms(hold), _TURNS)
        if answer[0] != b"taken":
            return None
        return Taken(
            build_id=answer[1].decode(),
            owner=answer[2].decode(),
            timeout=float(answer[3]),
            attempt=int(answer[4]),
            take=int(answer[5]),
            failures=int(answer[6]),
            trace=answer[7].decode(),
            more=bool(answer[8]),
        )

    async def sent(self, taken: Taken, *, token_id: str, facts_json: str, queue_ttl: float) -> bool:
        """Record the attempt that is about to be sent; False when it is not wanted any more.

        Raises `SameToken` when the attempt before had this very token.
        """
        answer = await self._run(
            "sent", taken.build_id, taken.take, token_id, facts_json, _ms(queue_ttl)
        )
        if answer == b"same_token":
            raise errors.SameToken(errors.SameToken.__doc__)
        return bool(answer == b"sent")

    async def put_back(self, taken: Taken, *, delay: float, reason: str, message: str) -> None:
        """Let a build wait again, and say why on its record."""
        await self._run("put_back", taken.build_id, taken.take, _ms(delay), reason, message)

    async def give_up(self, taken: Taken, *, reason: str, message: str) -> None:
        """End a build that can never be dispatched, and say why on its record."""
        await self._run("give_up", taken.build_id, taken.take, reason, message)

    async def expire(
        self,
        *,
        hold: bool,
        max_attempts: int,
        max_wait: float,
        retention: float,
        not_after: float | None = None,
    ) -> Expired:
        """Take what is overdue.

        With `hold`, or when it is later than `not_after` (seconds, by the store's clock), nothing
        is ended or taken from a worker. Builds that ended `retention` seconds ago are deleted.
        """
        at, held, *words = [
            item.decode()
            for item in await self._run(
                "expire", int(hold), max_attempts, _ms(max_wait), _ms(retention), _EXPIRE_BATCH,
                "" if not_after is None else _ms(not_after),
            )
        ]  # fmt: skip
        done = list(zip(words[::2], words[1::2], strict=True))
        return Expired(at=int(at) / 1000, held=held == "1", done=done)

    # ── workers' calls: `Refused` when they are not the build's holder ─────────────────────────

    async def claim(
        self,
        build_id: str,
        credential: Credential,
        *,
        nonce: str,
        worker: str,
        lease_id: str,
        lease: float,
        after_timeout: float,
    ) -> Claimed:
        """`after_timeout`: seconds beyond the build's own in which its end must be reported."""
        answer = await self._run(
            "claim", build_id, credential.user_id, credential.token_id, nonce, worker,
            lease_id, _ms(lease), _ms(after_timeout),
        )  # fmt: skip
        if answer[0] != b"claimed":
            raise _refused(answer)
        return Claimed(
            lease_id=answer[1].decode(),
            attempt=int(answer[2]),
            spec_json=answer[3].decode(),
            log_offset=int(answer[4]),
            timeout=float(answer[5]) / 1000,
            cancel=bool(answer[6]),
        )

    async def renew(
        self,
        build_id: str,
        credential: Credential,
        *,
        lease_id: str,
        lease: float,
        steps: str = "",
        commit: str = "",
    ) -> bool:
        """Renew the lease; True when somebody wants the build cancelled."""
        answer = await self._run(
            "renew", build_id, credential.user_id, credential.token_id, lease_id, _ms(lease),
            steps, commit,
        )  # fmt: skip
        if answer[0] != b"ok":
            raise _refused(answer)
        return bool(answer[1])

    async def read_cancel(self, build_id: str, credential: Credential, *, lease_id: str) -> bool:
        """What `renew` would answer by now; renews nothing."""
        answer = await self._run(
            "read_cancel", build_id, credential.user_id, credential.token_id, lease_id
        )
        if answer[0] != b"ok":
            raise _refused(answer)
        return bool(answer[1])

    async def append(
        self,
        build_id: str,
        credential: Credential,
        *,
        lease_id: str,
        lease: float,
        offset: int,
        limit: int,
        data: bytes,
    ) -> tuple[int, bool]:
        """Returns the log's end and whether to cancel."""
        answer = await self._run(
            "append", build_id, credential.user_id, credential.token_id, lease_id, _ms(lease),
            offset, limit, data,
        )  # fmt: skip
        if answer[0] != b"ok":
            raise _refused(answer)
        return int(answer[1]), bool(answer[2])

    async def hand_back(
        self, build_id: str, credential: Credential, *, lease_id: str, max_wait: float
    ) -> None:
        answer = await self._run(
            "hand_back", build_id, credential.user_id, credential.token_id, lease_id, _ms(max_wait)
        )
        if answer[0] != b"ok":
            raise _refused(answer)

    async def finish(
        self, build_id: str, credential: Credential, *, lease_id: str, result: Finish
    ) -> int | None:
        """Record the end, and the tail of the log with it.

        Returns None, or where the log of this attempt begins, when nothing was recorded because
        what `result` has verified is not the whole of it.
        """
        answer = await self._run(
            "finish", build_id, credential.user_id, credential.token_id, lease_id,
            result.status, result.reason, result.message, result.steps, result.commit,
            result.log_length, result.log_sha256, result.digest,
            result.verified, result.log_limit, result.tail,
        )  # fmt: skip
        if answer[0] == b"unverified":
            return int(answer[1])
        if answer[0] == b"conflict":
            raise errors.ResultConflict(Status(answer[1].decode()), answer[2].decode() or None)
        if answer[0] != b"ok":
            raise _refused(answer)
        return None
