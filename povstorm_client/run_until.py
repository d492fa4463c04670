"""run_until: run a coroutine until it ends or is to stop; for flows and the render container."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def run_until(
    stop: asyncio.Event, work: Coroutine[Any, Any, T], *, grace: float | None = None
) -> T | None:
    """The work's result, or None if ``stop`` was set first; the work has ended by then.

    grace: seconds for it to end after it was cancelled, None for as long as it takes.
    """
    running = asyncio.create_task(work)
    asked = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({running, asked}, return_when=asyncio.FIRST_COMPLETED)
        return running.result() if running.done() else None
    finally:
        running.cancel()
        asked.cancel()
        await asyncio.wait({running, asked}, timeout=grace)


def listen_to_sigterm(stop: asyncio.Event) -> bool:
    """Have SIGTERM set ``stop``, whoever listened to it before; whether this thread can."""
    # Only the main thread gets signals; Prefect runs some flows in others.
    if threading.current_thread() is not threading.main_thread():
        return False
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    return True
