"""The label by which Prefect's pages, and `povstorm ui`, know which run of a job a flow run is.

recorded_job gives it to runs on this machine, render_job to those of a deployment.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prefect.client.orchestration import get_client
from prefect.runtime import flow_run

from povstorm_client.launch.run_page import RUN_LABEL
from povstorm_client.run_logger import RunLogger

# So long a job that has ended waits for its label; a server that takes none is busy, or gone.
_MOST_SECONDS = 10.0


async def label_run(flow_run_id: uuid.UUID, run: str) -> None:
    """Label a flow run; run: what JobState calls it. Raises what Prefect's client raises."""
    async with get_client() as client:
        await client.update_flow_run_labels(flow_run_id, {RUN_LABEL: run})


@asynccontextmanager
async def labelled(run: str, logger: RunLogger) -> AsyncIterator[None]:
    """Label the flow run that calls, beside the block: no frame waits for Prefect.

    logger: is told why it has no label.
    """
    run_id = flow_run.id
    if run_id is None:
        yield
        return
    labelling = asyncio.create_task(_try_to_label(uuid.UUID(run_id), run, logger))
    try:
        yield
    finally:
        await asyncio.wait({labelling}, timeout=_MOST_SECONDS)
        labelling.cancel()


async def _try_to_label(flow_run_id: uuid.UUID, run: str, logger: RunLogger) -> None:
    try:
        await label_run(flow_run_id, run)
    # Prefect's client lets every error of its server and of the network through.
    except Exception as error:
        logger.warning("this run has no label %s in Prefect: %s", RUN_LABEL, error)
