"""Who sees everything: the store's records over time, and every message in the broker."""

import ast
import asyncio
import base64
import contextlib
import json
import re
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from app.builds.store import keys
from app.contract import queue as wire
from app.contract.sealing import Seal
from app.contract.status import Status

#: Seconds between looks at everything, and between tries while Redis is away.
_EVERY: Final = 0.5
_RETRY: Final = 0.05
#: Bytes of the longest line of MONITOR: a log append, with each byte written as `\x00`.
_LONGEST_LINE: Final = 4 * 1024 * 1024

_PUSH: Final = f'"LPUSH" "{wire.QUEUE}" '.encode()
_STRING: Final = re.compile(rb'"(?:[^"\\]|\\.)*"')


@dataclass(frozen=True, kw_only=True, slots=True)
class Sight:
    """A build as it was at a moment of the monotonic clock."""

    at: float
    status: Status
    attempt: int
    worker: str


@dataclass(frozen=True, kw_only=True, slots=True)
class End:
    record: dict[bytes, bytes]
    log: bytes


class Witness:
    """Looks at builds whenever one changes and twice a second besides."""

    def __init__(self, url: str) -> None:
        self._redis = Redis.from_url(url, socket_timeout=5)
        self._rung: set[str] = set()
        self._stopped = False
        self.watched: set[str] = set()
        #: Each change of status, attempt or worker that was seen, by build.
        self.sights: defaultdict[str, list[Sight]] = defaultdict(list)
        #: How each build was when it was first seen to have ended.
        self.ends: dict[str, End] = {}
        #: What changed after that, in words, by build.
        self.changed: dict[str, str] = {}

    async def run(self) -> None:
        """Watch until `stop`; an outage of Redis is waited for."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen())
            tasks.create_task(self._look_around())

    def stop(self) -> None:
        """Not by cancelling: Python 3.11's `wait_for`, in Redis' client, may swallow that."""
        self._stopped = True

    async def close(self) -> None:
        await self._redis.aclose()

    async def _listen(self) -> None:
        while not self._stopped:
            with contextlib.suppress(RedisError, OSError):
                async with self._redis.pubsub(ignore_subscribe_messages=True) as pubsub:
                    await pubsub.subscribe(keys.CHANGED, keys.GROWN)
                    while not self._stopped:
                        message = await pubsub.get_message(timeout=1)
                        if message is not None:
                            self._rung.add(message["data"].decode().partition(" ")[0])
            await asyncio.sleep(_RETRY)

    async def _look_around(self) -> None:
        everything = 0.0
        while not self._stopped:
            ids, self._rung = self._rung, set()
            if time.monotonic() >= everything:
                ids |= self.watched
                everything = time.monotonic() + _EVERY
            with contextlib.suppress(RedisError, OSError):
                await self.look(ids)
            await asyncio.sleep(_RETRY)

    async def look(self, ids: set[str]) -> None:
        """Look at some builds now. Raises `RedisError`, `OSError`."""
        for build_id in ids:
            pipe = self._redis.pipeline(transaction=True)
            pipe.hgetall(keys.build(build_id))
            if build_id in self.ends:
                pipe.strlen(keys.log(build_id))
            else:
                pipe.get(keys.log(build_id))
            record, log = await pipe.execute()
            if build_id in self.ends:
                self._compare(build_id, record, log)
            elif record:
                self._note(build_id, record, log or b"")

    def _note(self, build_id: str, record: dict[bytes, bytes], log: bytes) -> None:
        sight = Sight(
            at=time.monotonic(),
            status=Status(record[b"status"].decode()),
            attempt=int(record.get(b"attempt", 0)),
            worker=record.get(b"worker", b"").decode(),
        )
        seen = self.sights[build_id]
        known = (sight.status, sight.attempt, sight.worker)
        if not seen or known != (seen[-1].status, seen[-1].attempt, seen[-1].worker):
            seen.append(sight)
        if sight.status.final:
            self.ends[build_id] = End(record=record, log=log)

    def _compare(self, build_id: str, record: dict[bytes, bytes], length: int) -> None:
        end = self.ends[build_id]
        if record != end.record:
            differing = {
                name.decode(): (end.record.get(name), record.get(name))
                for name in end.record.keys() | record.keys()
                if end.record.get(name) != record.get(name)
            }
            self.changed.setdefault(build_id, f"the record changed after the end: {differing}")
        if length != len(end.log):
            self.changed.setdefault(
                build_id, f"the log went from {len(end.log)} to {length} bytes after the end"
            )

    async def look_last(self) -> None:
        """Compare the whole logs, too."""
        await self.look(set(self.ends))
        for build_id, end in self.ends.items():
            if (await self._redis.get(keys.log(build_id)) or b"") != end.log:
                self.changed.setdefault(build_id, "the log's bytes changed after the end")

    def running_on(self, worker: str, pid: int | None = None) -> dict[str, int]:
        """Builds that were last seen to run on a worker, or in one process of it, with their
        attempts."""
        return {
            build_id: seen[-1].attempt
            for build_id, seen in self.sights.items()
            if seen[-1].status is Status.RUNNING and _is_on(seen[-1].worker, worker, pid)
        }

    def ended_at(self, build_id: str) -> float | None:
        """When a build was first seen to have ended."""
        return self.sights[build_id][-1].at if build_id in self.ends else None

    def went_on(self, build_id: str, attempt: int, since: float) -> float | None:
        """When a build was seen to have ended, or to run in an attempt after `attempt`."""
        for sight in self.sights[build_id]:
            later = sight.attempt > attempt and sight.status is Status.RUNNING
            if sight.at > since and (later or sight.status.final):
                return sight.at
        return None


class BrokerTap:
    """Reads every message that is put into the broker, by MONITOR, as a thief who has the
    key to the tokens, too."""

    def __init__(self, port: int, seal: Seal) -> None:
        self._port = port
        self._seal = seal
        self.messages: dict[str, dict[str, Any]] = {}  #: by delivery tag
        #: All tokens that were sent, by build.
        self.tokens: defaultdict[str, set[str]] = defaultdict(set)

    async def run(self) -> None:
        """Listen until cancelled; an outage of Redis is waited for."""
        while True:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await self._listen()
            await asyncio.sleep(_RETRY)

    async def _listen(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port, limit=_LONGEST_LINE)
        try:
            writer.write(b"MONITOR\r\n")
            while True:
                line = await reader.readuntil(b"\r\n")
                _, found, rest = line.partition(_PUSH)
                if found:
                    self._take(rest)
        finally:
            writer.close()

    def _take(self, arguments: bytes) -> None:
        """Each argument as MONITOR writes it: a string that Python reads the same way."""
        for text in _STRING.findall(arguments):
            message = json.loads(ast.literal_eval("b" + text.decode("latin-1")))
            token = message["headers"].get(wire.TOKEN_HEADER)
            self.messages.setdefault(message["properties"]["delivery_tag"], message)
            if token:
                build_id = build_of(message)
                self.tokens[build_id].add(self._seal.open(token, purpose=build_id))


def _is_on(recorded: str, worker: str, pid: int | None) -> bool:
    name, _, process = recorded.rpartition(":")
    return name == worker and pid in {None, int(process)}


def build_of(message: dict[str, Any]) -> str:
    """The id of the build that a Celery message is about."""
    args, _, _ = json.loads(base64.b64decode(message["body"]))
    build_id: str = args[0]
    return build_id
