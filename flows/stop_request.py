"""stop_request: the ways in which a running job learns that it should stop; for the flows.

A client that started it closes its standard input, a worker or Cloud Run sends SIGTERM, and
``povstorm cancel`` leaves a note in the storage, which reaches a flow wherever it runs. It imports
no Prefect; who cancels a run in its UI is prefect_cancellation.py's to hear.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from povstorm_client.run_logger import RunLogger
from povstorm_client.run_until import listen_to_sigterm
from povstorm_client.storage import layout
from povstorm_client.storage.protocol import Storage

_LOOK_SECONDS = 5.0


@asynccontextmanager
async def stop_request(
    storage: Storage, job_id: str, stop: asyncio.Event, logger: RunLogger
) -> AsyncIterator[asyncio.Event]:
    """``stop``, which is set by SIGTERM or the storage's note while the block runs.

    logger: is told when the storage cannot be asked.
    """
    before = signal.getsignal(signal.SIGTERM)
    handles_signals = listen_to_sigterm(stop)

    async def is_noted() -> bool:
        return await asyncio.to_thread(storage.stat, layout.cancel_request(job_id)) is not None

    looking = asyncio.create_task(look_for_stop(is_noted, _LOOK_SECONDS, stop, logger))
    try:
        yield stop
    finally:
        looking.cancel()
        await asyncio.wait({looking})
        if handles_signals:
            asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)
            signal.signal(signal.SIGTERM, before)


async def look_for_stop(
    is_asked: Callable[[], Awaitable[bool]], seconds: float, stop: asyncio.Event, logger: RunLogger
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
