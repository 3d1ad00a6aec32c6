"""A `Once` computes a value once, at the first request for it."""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Once(Generic[T]):
    """A `Once` is for a value that takes long to compute and that few requests need."""

    def __init__(self, make: Callable[[], T]) -> None:
        """Take the function that computes the value, in a thread, so that it blocks no request."""
        self._make = make
        self._task: asyncio.Task[T] | None = None

    async def __call__(self) -> T:
        """Return the value. Raises what `make` raised."""
        if self._task is None:
            self._task = asyncio.create_task(asyncio.to_thread(self._make))
        return await asyncio.shield(self._task)
