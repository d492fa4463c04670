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
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from logging import Logger, LoggerAdapter
from typing import Any

from prefect.client.orchestration import get_client
from prefect.runtime import flow_run

from povstorm_client.storage import layout
from povstorm_client.storage.protocol import Storage

_Logger = Logger | LoggerAdapter[Any]
_LOOK_SECONDS = 5.0
# An API call each time, which Prefect Cloud counts.
_LOOK_AT_RUN_SECONDS = 10.0


@asynccontextmanager
async def stop_request(
    storage: Storage, job_id: str, stop: asyncio.Event, logger: _Logger
) -> AsyncIterator[asyncio.Event]:
    """``stop``, which is set by SIGTERM, the storage's note or Prefect's UI while the block runs.

    logger: is told when the storage or Prefect cannot be asked.
    """
    loop = asyncio.get_running_loop()
    # Only the main thread gets signals; Prefect runs some flows in others.
    handles_signals = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM)
    if handles_signals:
        loop.add_signal_handler(signal.SIGTERM, stop.set)

    async def is_noted() -> bool:
        return await asyncio.to_thread(storage.stat, layout.cancel_request(job_id)) is not None

    looking = [asyncio.create_task(_look(is_noted, _LOOK_SECONDS, stop, logger))]
    if (run_id := flow_run.id) is not None:
        is_cancelling = partial(_is_cancelling, uuid.UUID(run_id))
        looking.append(
            asyncio.create_task(_look(is_cancelling, _LOOK_AT_RUN_SECONDS, stop, logger))
        )
    try:
        yield stop
    finally:
        for look in looking:
            look.cancel()
        await asyncio.wait(looking)
        if handles_signals:
            loop.remove_signal_handler(signal.SIGTERM)
            signal.signal(signal.SIGTERM, before)


async def _look(
    is_asked: Callable[[], Awaitable[bool]], seconds: float, stop: asyncio.Event, logger: _Logger
) -> None:
    """Set ``stop`` when it is asked for; whoever cannot be asked now can be later."""
    answered = True
    while True:
        try:
            if await is_asked():
                stop.set()
                return
            answered = True
        except Exception as error:
            # The storage's or Prefect's; a server that is away for an hour is told of once.
            if answered:
                logger.warning("whether the job is to stop could not be asked: %s", error)
            answered = False
        await asyncio.sleep(seconds)


async def _is_cancelling(run_id: uuid.UUID) -> bool:
    async with get_client() as client:
        state = (await client.read_flow_run(run_id)).state
    return state is not None and state.is_cancelling()
