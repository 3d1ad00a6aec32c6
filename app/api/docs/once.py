"""What is made once, when it is first asked for."""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Once(Generic[T]):
    """Something that takes long to make, and that few ask for; all of them get the same."""

    def __init__(self, make: Callable[[], T]) -> None:
        """`make` runs in a thread, so that other requests are answered meanwhile."""
        self._make = make
        self._made: asyncio.Task[T] | None = None

    async def __call__(self) -> T:
        """It; raises what `make` raised."""
        if self._made is None:
            self._made = asyncio.create_task(asyncio.to_thread(self._make))
        return await asyncio.shield(self._made)
