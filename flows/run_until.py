"""run_until: run a coroutine until it ends or an event asks it to stop; used by the flows."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def run_until(stop: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """The work's result, or None if ``stop`` was set first; the work has ended by then."""
    running = asyncio.create_task(work)
    asked = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({running, asked}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            return running.result()
        running.cancel()
        await asyncio.wait({running})
        return None
    finally:
        running.cancel()
        asked.cancel()
        await asyncio.wait({running, asked})
