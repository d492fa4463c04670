"""stop_request: the ways in which a running flow learns that it should stop; for the flows.

A client that started it closes its standard input, a worker or Cloud Run sends SIGTERM, and
``povstorm cancel`` leaves a note in the storage, which reaches a flow wherever it runs.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from povstorm_client import layout
from povstorm_client.storage import Storage

_LOOK_SECONDS = 5.0


@asynccontextmanager
async def stop_request(
    storage: Storage, job_id: str, stop: asyncio.Event
) -> AsyncIterator[asyncio.Event]:
    """``stop``, which is set by SIGTERM or by the storage's note while the block runs."""
    loop = asyncio.get_running_loop()
    # Only the main thread gets signals; Prefect runs some flows in others.
    handles_signals = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM)
    if handles_signals:
        loop.add_signal_handler(signal.SIGTERM, stop.set)
    looking = asyncio.create_task(_look_for_note(storage, job_id, stop))
    try:
        yield stop
    finally:
        looking.cancel()
        await asyncio.wait({looking})
        if handles_signals:
            loop.remove_signal_handler(signal.SIGTERM)
            signal.signal(signal.SIGTERM, before)


async def _look_for_note(storage: Storage, job_id: str, stop: asyncio.Event) -> None:
    note = layout.cancel_request(job_id)
    while await asyncio.to_thread(storage.stat, note) is None:
        await asyncio.sleep(_LOOK_SECONDS)
    stop.set()
