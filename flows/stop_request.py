"""stop_request: the ways in which a running flow learns that it should stop; for the flows.

A client that started it closes its standard input, a worker or Cloud Run sends SIGTERM, and
``povstorm cancel`` leaves a note in the storage, which reaches a flow wherever it runs. A run that
is cancelled in the Prefect UI is Cancelling until its worker, if it has one, sends the signal; the
flow looks for that itself.
"""

from __future__ import annotations

import asyncio
import signal
import threading
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prefect.client.orchestration import get_client
from prefect.runtime import flow_run

from povstorm_client.storage import layout
from povstorm_client.storage.protocol import Storage

_LOOK_SECONDS = 5.0
# An API call each time, which Prefect Cloud counts.
_LOOK_AT_RUN_SECONDS = 10.0


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
    looking = [
        asyncio.create_task(_look_for_note(storage, job_id, stop)),
        asyncio.create_task(_look_for_cancelling(stop)),
    ]
    try:
        yield stop
    finally:
        for look in looking:
            look.cancel()
        await asyncio.wait(looking)
        if handles_signals:
            loop.remove_signal_handler(signal.SIGTERM)
            signal.signal(signal.SIGTERM, before)


async def _look_for_note(storage: Storage, job_id: str, stop: asyncio.Event) -> None:
    note = layout.cancel_request(job_id)
    while await asyncio.to_thread(storage.stat, note) is None:
        await asyncio.sleep(_LOOK_SECONDS)
    stop.set()


async def _look_for_cancelling(stop: asyncio.Event) -> None:
    run_id = flow_run.id
    if run_id is None:
        return
    async with get_client() as client:
        while True:
            await asyncio.sleep(_LOOK_AT_RUN_SECONDS)
            state = (await client.read_flow_run(uuid.UUID(run_id))).state
            if state is not None and state.is_cancelling():
                stop.set()
                return
