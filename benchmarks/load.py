"""A load of requests over kept-alive connections, cheap enough to leave the server its core."""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    per_second: float
    statuses: Counter[int]


async def load(
    host: str, port: int, request: bytes, *, connections: int, seconds: float
) -> Outcome:
    """Send `request` again and again on each connection for `seconds`."""
    statuses: Counter[int] = Counter()
    end = time.monotonic() + seconds
    begun = time.monotonic()

    async def one() -> None:
        reader, writer = await asyncio.open_connection(host, port)
        while time.monotonic() < end:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
            await reader.readexactly(length)
            statuses[int(head[9:12])] += 1
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*(one() for _ in range(connections)))
    return Outcome(
        per_second=sum(statuses.values()) / (time.monotonic() - begun), statuses=statuses
    )
