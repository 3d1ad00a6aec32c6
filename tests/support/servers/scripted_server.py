"""An HTTP server on a free port that answers as a test tells it to, misbehaviour included."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Heard:
    """A request, as it came."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


Answer = Callable[[Heard, asyncio.StreamWriter], Awaitable[None]]


@dataclass(kw_only=True)
class ScriptedServer:
    """`answer` may be changed at any time; it counts for the next request."""

    answer: Answer
    url: str = ""
    heard: list[Heard] = field(default_factory=list)
    hung_up: asyncio.Event = field(default_factory=asyncio.Event)  #: a client left mid-answer

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await _read(reader)
            self.heard.append(request)
            await self.answer(request, writer)
            await writer.drain()
        except ConnectionError:
            self.hung_up.set()
        except asyncio.IncompleteReadError:
            pass  # a connection without a request
        finally:
            writer.close()


async def _read(reader: asyncio.StreamReader) -> Heard:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, path, _ = head[0].split(" ")
    headers = {
        name.strip().lower(): value.strip()
        for name, _, value in (line.partition(":") for line in head[1:] if line)
    }
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Heard(method=method, path=path, headers=headers, body=body)


async def _turns() -> None:
    """Let the loop do what it has begun; each step of that takes a turn of its own."""
    for _ in range(10):
        await asyncio.sleep(0)


@asynccontextmanager
async def scripted(answer: Answer) -> AsyncIterator[ScriptedServer]:
    """Serve, in the test's own event loop, until the `async with` ends."""
    server = ScriptedServer(answer=answer)
    serving: set[asyncio.Task[None]] = set()
    writers: list[asyncio.StreamWriter] = []

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(server.serve(reader, writer))
        serving.add(task)
        task.add_done_callback(serving.discard)
        writers.append(writer)

    listener = await asyncio.start_server(accept, "127.0.0.1", 0)
    host, port = listener.sockets[0].getsockname()
    server.url = f"http://{host}:{port}"
    try:
        yield server
    finally:
        await _turns()  # asyncio leaks a connection whose listener is closed while it is taken
        listener.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
        for writer in writers:
            writer.transport.abort()  # what was still to be sent is for nobody
        await _turns()  # and the sockets are closed


def says(
    body: Any,
    *,
    status: int = 200,
    kind: str = "application/json",
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """The same well-formed answer to everyone; bytes as they are, anything else as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()

    async def answer(_: Heard, writer: asyncio.StreamWriter) -> None:
        send(writer, content, status=status, kind=kind, headers=headers)

    return answer


def send(
    writer: asyncio.StreamWriter,
    content: bytes,
    *,
    status: int = 200,
    kind: str = "application/json",
    length: int | None = None,
    headers: Mapping[str, str] | None = None,
) -> None:
    """Write an answer; `length` may lie."""
    lines = [
        f"HTTP/1.1 {status} Whatever",
        f"Content-Type: {kind}",
        f"Content-Length: {len(content) if length is None else length}",
        "Connection: close",
        *(f"{name}: {value}" for name, value in (headers or {}).items()),
    ]
    writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + content)


async def hangs(_: Heard, __: asyncio.StreamWriter) -> None:
    """Takes the request and never answers."""
    await asyncio.Event().wait()


async def drips(_: Heard, writer: asyncio.StreamWriter) -> None:
    """One byte every 20 ms, without end: no single read ever times out."""
    send(writer, b"", length=10**9)
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.02)


async def resets(_: Heard, writer: asyncio.StreamWriter) -> None:
    """Closes the connection in the middle of nothing."""
    writer.transport.abort()


async def breaks_off(_: Heard, writer: asyncio.StreamWriter) -> None:
    """Promises more than it sends."""
    send(writer, b'{"keys": [', length=5000)


async def floods(_: Heard, writer: asyncio.StreamWriter) -> None:
    """60 MB of JSON, as fast as they are taken."""
    send(writer, b'{"keys": [', length=60 * 1024 * 1024)
    for _piece in range(60 * 16):
        writer.write(b" " * 64 * 1024)
        await writer.drain()
