"""cancelled_in_prefect: a flow run that is cancelled in the Prefect UI stops; render_job uses it.

Such a run is Cancelling until its worker, if it has one, sends SIGTERM; so the flow looks itself.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from prefect.client.orchestration import get_client
from prefect.runtime import flow_run

from flows.stop_request import look_for_stop
from povstorm_client.run_logger import RunLogger

# An API call each time, which Prefect Cloud counts.
_LOOK_SECONDS = 10.0


@asynccontextmanager
async def cancelled_in_prefect(stop: asyncio.Event, logger: RunLogger) -> AsyncIterator[None]:
    """Set ``stop`` when the flow run that calls is cancelled while the block runs.

    logger: is told when Prefect cannot be asked.
    """
    run_id = flow_run.id
    if run_id is None:
        yield
        return
    is_cancelling = partial(_is_cancelling, uuid.UUID(run_id))
    looking = asyncio.create_task(look_for_stop(is_cancelling, _LOOK_SECONDS, stop, logger))
    try:
        yield
    finally:
        looking.cancel()
        await asyncio.wait({looking})


async def _is_cancelling(run_id: uuid.UUID) -> bool:
    async with get_client() as client:
        state = (await client.read_flow_run(run_id)).state
    return state is not None and state.is_cancelling()
