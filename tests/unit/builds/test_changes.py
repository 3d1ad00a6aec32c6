"""Waiting for news."""

import asyncio

from app.builds.pubsub import Bell


async def test_a_bell_that_rang_before_is_heard_once() -> None:
    bell = Bell()
    bell.ring()
    assert await bell.wait(10)
    assert not await bell.wait(0.01)


async def test_a_wait_that_is_cancelled_about_when_the_bell_rings_ends() -> None:
    for turns in range(5):
        bell = Bell()
        waiting = asyncio.create_task(bell.wait(60))
        await asyncio.sleep(0)
        bell.ring()
        for _ in range(turns):
            await asyncio.sleep(0)
        was_waiting = waiting.cancel()
        await asyncio.wait({waiting}, timeout=10)
        assert waiting.cancelled() == was_waiting
