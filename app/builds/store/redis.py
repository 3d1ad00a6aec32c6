"""`BuildStore`: what a build goes through, each step one script on Redis."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    BusyLoadingError,
    ConnectionError as RedisConnectionError,
    OutOfMemoryError,
    ReadOnlyError,
    TimeoutError as RedisTimeoutError,
)

from app.builds import errors
from app.builds.model import Build, Credential
from app.builds.store import keys, scripts
from app.contract.status import Status

#: Seconds for an answer before a call counts as failed: callers are people and workers that retry.
_TIMEOUT: Final = 5.0
#: Connections of one API process; followers share them, so none is held while waiting.
_CONNECTIONS: Final = 64
#: Overdue builds that one run of the watch takes of each kind, to keep the script short.
_EXPIRE_BATCH: Final = 100

_UNAVAILABLE = (
    RedisConnectionError,
    RedisTimeoutError,
    BusyLoadingError,
    ReadOnlyError,
    OutOfMemoryError,
    OSError,
)


def connect(url: str) -> "Redis":
    """A client for `url` whose every call is bounded in time and made once."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=_CONNECTIONS,
        timeout=_TIMEOUT,
        socket_timeout=_TIMEOUT,
        socket_connect_timeout=_TIMEOUT,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=0,
    )
    return Redis.from_pool(pool)


@dataclass(frozen=True, kw_only=True, slots=True)
class Taken:
    """A build whose turn it is; `attempt` counts the dispatches before this one."""

    build_id: str
    owner: str
    timeout: float
    attempt: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Claimed:
    lease_id: str
    attempt: int
    spec_json: str
    log_offset: int
    timeout: float  #: seconds left
    cancel: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Finish:
    """A final result as the script takes it; `digest` tells whether it is the same result again."""

    status: Status
    reason: str
    message: str
    steps: str
    commit: str
    log_length: int
    log_sha256: str
    digest: str


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


@asynccontextmanager
async def _answering() -> AsyncIterator[None]:
    try:
        yield
    except _UNAVAILABLE as error:
        raise errors.StoreUnavailable(
            f"the store did not answer ({type(error).__name__})"
        ) from error


class BuildStore:
    """Every method raises `StoreUnavailable` when Redis does not answer in time.

    A call that failed so may have taken effect all the same; all of them may be repeated.
    """

    def __init__(self, redis: "Redis") -> None:
        self._redis = redis
        self._scripts = {
            name: redis.register_script(scripts.source(name)) for name in scripts.NAMES
        }

    async def _run(self, name: str, *args: str | bytes | float) -> Any:  # noqa: ANN401  Lua's answer
        async with _answering():
            return await self._scripts[name](keys=[keys.PREFIX], args=args)

    async def ping(self) -> None:
        async with _answering():
            await self._redis.ping()

    async def close(self) -> None:
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
    ) -> tuple[str, int | None]:
        """Record a new build and queue it.

        `idempotency` is a key and the digest of the body. Returns the build's id and its creation
        time in milliseconds, or None for the time when the key has made that build before.
        Raises `KeyReused` when it was with another body.
        """
        key, digest = idempotency or ("", "")
        answer = await self._run(
            "submit", build_id, owner, spec_json, timeout, _ms(max_wait), retry_of or "",
            key, digest, _ms(idempotency_ttl),
        )  # fmt: skip
        word = answer[0]
        if word == b"key_reused":
            raise errors.KeyReused(errors.KeyReused.__doc__)
        return answer[1].decode(), int(answer[2]) if word == b"new" else None

    async def get(self, build_id: str) -> Build:
        """Raises `NotFound`."""
        async with _answering():
            pipe = self._redis.pipeline(transaction=False)
            pipe.hgetall(keys.build(build_id))
            pipe.strlen(keys.log(build_id))
            record, length = await pipe.execute()
        return self._build(record, length)

    @staticmethod
    def _build(record: Mapping[bytes, bytes], length: int) -> Build:
        if not record:
            raise errors.NotFound(errors.NotFound.__doc__)
        return Build.from_record({k.decode(): v.decode() for k, v in record.items()}, length)

    async def page(
        self, owner: str, *, status: Status | None, before: str | None, limit: int
    ) -> list[Build]:
        """Up to `limit` builds of an owner, newest first, older than the id `before`."""
        async with _answering():
            ids: Any = await self._redis.zrevrangebylex(
                keys.index(owner, status or "all"), f"({before}" if before else "+", "-", 0, limit
            )
            pipe = self._redis.pipeline(transaction=False)
            for build_id in ids:
                pipe.hgetall(keys.build(build_id.decode()))
                pipe.strlen(keys.log(build_id.decode()))
            answers = await pipe.execute() if ids else []
        pairs = zip(answers[::2], answers[1::2], strict=True)
        return [self._build(record, length) for record, length in pairs if record]

    async def cancel(self, build_id: str, owner: str, *, who: str) -> None:
        """Raises `NotFound`, `NotCancellable`."""
        answer = await self._run("cancel", build_id, owner, who)
        if answer[0] == b"final":
            raise errors.NotCancellable(Status(answer[1].decode()))
        if answer[0] != b"ok":
            raise _refused(answer)

    async def log_state(self, build_id: str) -> tuple[str, Status, int]:
        """The owner, status and log length of a build, read together. Raises `NotFound`."""
        async with _answering():
            pipe = self._redis.pipeline(transaction=True)
            pipe.hmget(keys.build(build_id), "owner", "status")
            pipe.strlen(keys.log(build_id))
            (owner, status), length = await pipe.execute()
        if owner is None:
            raise errors.NotFound(errors.NotFound.__doc__)
        return owner.decode(), Status(status.decode()), length

    async def log_bounds(self, build_id: str) -> tuple[int, int]:
        """Where the current attempt's log begins, and where it ends."""
        async with _answering():
            pipe = self._redis.pipeline(transaction=True)
            pipe.hget(keys.build(build_id), "log_start")
            pipe.strlen(keys.log(build_id))
            start, length = await pipe.execute()
        return int(start or 0), length

    async def read_log(self, build_id: str, start: int, stop: int) -> bytes:
        """The bytes from `start` up to, not including, `stop`; fewer where the log ends."""
        if stop <= start:
            return b""
        async with _answering():
            data: Any = await self._redis.getrange(keys.log(build_id), start, stop - 1)
        return bytes(data)

    # ── dispatch ──────────────────────────────────────────────────────────────────────────────

    async def take(self, *, window: int, limit: int, hold: float) -> Taken | None:
        """The next build of the next user, now being dispatched; None when there is none."""
        answer = await self._run("take", window, limit, _ms(hold))
        if answer[0] != b"taken":
            return None
        return Taken(
            build_id=answer[1].decode(),
            owner=answer[2].decode(),
            timeout=float(answer[3]),
            attempt=int(answer[4]),
        )

    async def sent(self, taken: Taken, *, token_id: str, facts_json: str, queue_ttl: float) -> bool:
        """Record the attempt that is about to be sent; False when it is not wanted any more."""
        answer = await self._run(
            "sent", taken.build_id, taken.attempt, token_id, facts_json, _ms(queue_ttl)
        )
        return bool(answer)

    async def put_back(
        self, build_id: str, *, attempt: int, delay: float, reason: str, message: str
    ) -> None:
        """Let a build wait again, and say why on its record."""
        await self._run("put_back", build_id, attempt, _ms(delay), reason, message)

    async def expire(
        self, *, hold: bool, max_attempts: int, max_wait: float
    ) -> list[tuple[str, str]]:
        """Take what is overdue; returns what was done as (word, build id)."""
        answer = await self._run("expire", int(hold), max_attempts, _ms(max_wait), _EXPIRE_BATCH)
        words = [item.decode() for item in answer]
        return list(zip(words[::2], words[1::2], strict=True))

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
    ) -> None:
        answer = await self._run(
            "finish", build_id, credential.user_id, credential.token_id, lease_id,
            result.status, result.reason, result.message, result.steps, result.commit,
            result.log_length, result.log_sha256, result.digest,
        )  # fmt: skip
        if answer[0] == b"conflict":
            raise errors.ResultConflict(Status(answer[1].decode()), answer[2].decode() or None)
        if answer[0] != b"ok":
            raise _refused(answer)
