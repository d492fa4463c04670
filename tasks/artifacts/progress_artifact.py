"""The progress artifact of a flow run: how far its job is, for the Prefect UI; render_job keeps it.

Each update is an API call, and Prefect Cloud's plans limit those a minute.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from prefect import get_run_logger
from prefect.artifacts import acreate_progress_artifact, aupdate_progress_artifact

from povstorm_client.jobs.state import JobState
from povstorm_client.quantities import counted

_FIRST_SECONDS = 1.0
_SECONDS = 5.0


@asynccontextmanager
async def progress_artifact(state: Callable[[], JobState]) -> AsyncIterator[None]:
    """Keep the artifact as the state is while the block runs, and once more at its end."""
    artifact = _Artifact()

    async def keep() -> None:
        await asyncio.sleep(_FIRST_SECONDS)
        while True:
            await artifact.publish(state())
            await asyncio.sleep(_SECONDS)

    keeping = asyncio.create_task(keep())
    try:
        yield
    finally:
        keeping.cancel()
        await asyncio.wait({keeping})
        await artifact.publish(state())


class _Artifact:
    def __init__(self) -> None:
        self._id: uuid.UUID | None = None
        self._percent = -1.0

    async def publish(self, state: JobState) -> None:
        """Bring it up to date, if Prefect can be reached."""
        percent = 100.0 * (state.done + state.failed) / max(1, state.total)
        text = f"{state.done} of {counted(state.total, 'frame')}, {state.failed} failed"
        try:
            if self._id is None:
                self._id = await acreate_progress_artifact(percent, description=text)
            elif percent != self._percent:
                await aupdate_progress_artifact(self._id, percent, description=text)
        except Exception as error:
            # Prefect's, mostly, or of its server; the job goes on without being shown.
            get_run_logger().warning("the job's progress could not be published: %s", error)
        else:
            self._percent = percent
