"""Waiting for news."""

import asyncio

from app.builds.pubsub import WakeUp


async def test_what_was_set_before_wakes_once() -> None:
    wake_up = WakeUp()
    wake_up.set()
    assert await wake_up.wait(10)
    assert not await wake_up.wait(0.01)


async def test_a_wait_that_is_cancelled_about_when_it_is_woken_ends() -> None:
    for turns in range(5):
        wake_up = WakeUp()
        waiting = asyncio.create_task(wake_up.wait(60))
        await asyncio.sleep(0)
        wake_up.set()
        for _ in range(turns):
            await asyncio.sleep(0)
        was_waiting = waiting.cancel()
        await asyncio.wait({waiting}, timeout=10)
        assert waiting.cancelled() == was_waiting
