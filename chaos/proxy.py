"""What stands between the callers and the API replicas in a bad network: a proxy that does harm.

It takes one request per connection, whole, and hands it to one of the replicas. What happens to a
call is drawn from the seed, which build it is about (counted in the order of their first calls),
what it does, and how often that was called before.
"""

import asyncio
import contextlib
import json
import re
import socket
import struct
from collections import Counter, defaultdict
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

#: Bytes of a request that are taken; the API's own limits are below it.
_LARGEST: Final = 8 * 1024 * 1024
_CONNECT: Final = 3.0  #: seconds for a replica to take a connection
_HEAD_END: Final = b"\r\n\r\n"
_BUILD: Final = re.compile(r"/builds/(bld_\w+)(/\w+)?")

#: What a load balancer says when nobody is behind it.
_BAD_GATEWAY: Final = b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"


class Harm(StrEnum):
    NONE = "none"
    DELAY = "delayed"
    LONG_DELAY = "delayed beyond the lease"
    LOST_REQUEST = "request lost"
    LOST_ANSWER = "answer lost"
    CUT_ANSWER = "answer cut off"
    BAD_GATEWAY = "502 page"
    REFUSED = "403 page"
    TWICE = "sent twice"
    AGAIN_LATER = "sent again later"


#: Of a hundred calls.
_SHARES: Final[dict[Harm, float]] = {
    Harm.DELAY: 8, Harm.LONG_DELAY: 0.7, Harm.LOST_REQUEST: 3, Harm.LOST_ANSWER: 4,
    Harm.CUT_ANSWER: 2, Harm.BAD_GATEWAY: 2, Harm.REFUSED: 1, Harm.TWICE: 3, Harm.AGAIN_LATER: 3,
}  # fmt: skip
#: To read twice is no harm, and an answer that is read for nothing may last as long as a build.
_FOR_WRITES: Final = frozenset({Harm.LOST_ANSWER, Harm.TWICE, Harm.AGAIN_LATER})
_CALM_SHARE: Final = 100 - sum(_SHARES.values())


@dataclass(frozen=True, kw_only=True, slots=True)
class _Request:
    method: str
    target: str
    bytes: bytes

    @property
    def build_id(self) -> str | None:
        found = _BUILD.match(self.target)
        return found[1] if found else None

    @property
    def call(self) -> str:
        """What it does, the same for all builds."""
        found = _BUILD.match(self.target)
        return f"{self.method} {(found[2] or '/build') if found else '/builds'}"


class FaultProxy:
    def __init__(self, replicas: Sequence[str], *, seed: int, lease: float) -> None:
        """`replicas`: their URLs; `lease`: seconds, for delays that are longer."""
        self._replicas = [(urlsplit(url).hostname or "", urlsplit(url).port or 80)
                          for url in replicas]  # fmt: skip
        self._seed = seed
        self._lease = lease
        self._builds: dict[str | None, int] = {None: -1}
        self._calls: Counter[tuple[int, str]] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.url = ""
        self.harmless = False  #: pass everything on as it is
        self.blackout = False  #: pass nothing on
        self.harms: Counter[Harm] = Counter()
        #: Every lease id that was handed out, by build: what a thief could have.
        self.leases: defaultdict[str, set[str]] = defaultdict(set)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            lambda reader, writer: self._in_background(self._answer(reader, writer)),
            "127.0.0.1", 0, limit=_LARGEST,
        )  # fmt: skip
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _in_background(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await _read(reader)
            if self.blackout:
                _reset(writer)
            else:
                await self._serve(request, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # one of the two went away: the other one's connection ends, too
        finally:
            writer.close()

    def _harm(self, request: _Request) -> tuple[Harm, Random]:
        nth = self._builds.setdefault(request.build_id, len(self._builds))
        self._calls[nth, request.call] += 1
        dice = Random(f"{self._seed}/{nth}/{request.call}/{self._calls[nth, request.call]}")
        if self.harmless:
            return Harm.NONE, dice
        shares = {Harm.NONE: _CALM_SHARE, **_SHARES}
        harm = dice.choices(list(shares), list(shares.values()))[0]
        if harm in _FOR_WRITES and request.method == "GET":
            harm = Harm.CUT_ANSWER
        self.harms[harm] += 1
        return harm, dice

    async def _serve(self, request: _Request, writer: asyncio.StreamWriter) -> None:
        harm, dice = self._harm(request)
        match harm:
            case Harm.LOST_REQUEST:
                _reset(writer)
            case Harm.BAD_GATEWAY:
                await _say(writer, 502, "Bad Gateway")
            case Harm.REFUSED:
                await _say(writer, 403, "Forbidden")
            case Harm.LOST_ANSWER:
                await self._forward(request, dice, None)
                _reset(writer)
            case Harm.CUT_ANSWER:
                await self._forward(request, dice, writer, cut=dice.randint(1, 400))
                _reset(writer)
            case _:
                await self._before(harm, request, dice)
                await self._forward(request, dice, writer)

    async def _before(self, harm: Harm, request: _Request, dice: Random) -> None:
        """What comes before a call that is answered."""
        match harm:
            case Harm.DELAY:
                await asyncio.sleep(dice.uniform(0.05, 1.0))
            case Harm.LONG_DELAY:
                await asyncio.sleep(self._lease * dice.uniform(1.0, 2.0))
            case Harm.TWICE:
                await self._forward(request, dice, None)
            case Harm.AGAIN_LATER:
                seconds = dice.uniform(0.2, 2 * self._lease)
                self._in_background(self._later(seconds, request, dice))
            case _:
                pass

    async def _later(self, seconds: float, request: _Request, dice: Random) -> None:
        await asyncio.sleep(seconds)
        with contextlib.suppress(OSError):
            await self._forward(request, dice, None)

    async def _forward(
        self,
        request: _Request,
        dice: Random,
        writer: asyncio.StreamWriter | None,
        *,
        cut: int | None = None,
    ) -> None:
        """Hand the request to a replica, and its answer (its first `cut` bytes) to `writer`."""
        for host, port in dice.sample(self._replicas, len(self._replicas)):
            try:
                upstream, send = await asyncio.wait_for(
                    asyncio.open_connection(host, port), _CONNECT
                )
            except OSError:
                continue
            try:
                send.write(request.bytes)
                answer = bytearray()
                while piece := await upstream.read(64 * 1024):
                    if len(answer) < _LARGEST:
                        answer += piece
                    if writer is not None:
                        writer.write(piece if cut is None else piece[:cut])
                        await writer.drain()
                    if cut is not None:
                        break
                self._remember_lease(request, bytes(answer))
            finally:
                send.close()
            if not answer and writer is not None:
                await _say(writer, 502, "Bad Gateway")
            return
        if writer is not None:
            await _say(writer, 502, "Bad Gateway")

    def _remember_lease(self, request: _Request, answer: bytes) -> None:
        if not request.build_id or not request.call.endswith("/claim"):
            return
        with contextlib.suppress(ValueError, KeyError):
            claim = json.loads(answer.partition(_HEAD_END)[2])
            self.leases[request.build_id].add(claim["lease_id"])


async def _read(reader: asyncio.StreamReader) -> _Request:
    """A whole request, to be sent on over a connection of its own."""
    head = await reader.readuntil(_HEAD_END)
    first, *lines = head[: -len(_HEAD_END)].split(b"\r\n")
    length = 0
    kept = [first]
    for line in lines:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
        if name.lower() != b"connection":
            kept.append(line)
    body = await reader.readexactly(length)
    method, target, _ = first.decode("latin-1").split(" ", 2)
    message = b"\r\n".join([*kept, b"Connection: close"]) + _HEAD_END + body
    return _Request(method=method, target=target, bytes=message)


async def _say(writer: asyncio.StreamWriter, status: int, words: str) -> None:
    writer.write(
        f"HTTP/1.1 {status} {words}\r\nContent-Type: text/html\r\nConnection: close\r\n"
        f"Content-Length: {len(_BAD_GATEWAY)}\r\n\r\n".encode()
        + _BAD_GATEWAY
    )
    await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    """End the connection with a RST, as a router that forgot it would."""
    connection: socket.socket | None = writer.get_extra_info("socket")
    if connection is not None:
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
