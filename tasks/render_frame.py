"""The render_frame task: one Prefect task run for each frame, cached on the frame's content.

render_job maps it over a job's work units; retries, caching and history are Prefect's.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from prefect import task
from prefect.cache_policies import CacheKeyFnPolicy
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import TaskRunContext
from prefect.tasks import Task, exponential_backoff

from povstorm_client.errors import PovstormError, RenderError, StorageError
from povstorm_client.frames.result import FrameResult
from povstorm_client.frames.work_unit import WorkUnit
from povstorm_client.jobs.frame_results import FrameResults
from povstorm_client.storage.folder import FolderStorage
from povstorm_client.storage.protocol import Storage
from render_image.machine import host_name
from render_image.povray_output import readable
from render_image.unexpected import unexpected_failure
from tasks.prefect_run import get_run_logger
from tasks.renderers.renderer import Renderer
from tasks.stored.stored_results import cache_key

# What one log record may carry; POV-Ray's usual output is 5 kB, scenes can print more.
_LOG_CHARACTERS = 50_000


def frame_cache_key(context: TaskRunContext, parameters: dict[str, Any]) -> str:
    """All that decides the picture: inline bytes, shared tree, cmd, POV-Ray's version."""
    unit: WorkUnit = parameters["unit"]
    renderer: Renderer = parameters["renderer"]
    return cache_key(unit, renderer.version)


async def _can_pass(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """Retry what another attempt can mend; a parse error stays what it is."""
    try:
        await state.aresult()
    except Exception as error:
        return can_pass(error)
    return False


def can_pass(error: Exception) -> bool:
    """Whether another attempt can mend it; a bug of ours it would only repeat."""
    return error.retryable if isinstance(error, RenderError) else isinstance(error, StorageError)


@task(
    name="render_frame",
    task_run_name="{unit.name}",
    cache_policy=CacheKeyFnPolicy(cache_key_fn=frame_cache_key),
    persist_result=True,
    result_serializer="json",
    retry_delay_seconds=exponential_backoff(backoff_factor=1),
    retry_jitter_factor=0.5,
    retry_condition_fn=_can_pass,
)
async def render_frame(
    unit: WorkUnit,
    renderer: Renderer,
    storage: Storage,
    *,
    retries: int,
    stored: FrameResult | None = None,
) -> dict[str, Any]:
    """Render one frame, unless an earlier run of the job has left its result (``stored``).

    Returns the FrameResult as plain data. Raises RenderError, its message with the tail of
    POV-Ray's output.
    """
    if stored is not None:
        return stored.to_json()
    result = await attempt_frame(unit, renderer, storage, attempt=_attempt(), retries=retries)
    return result.to_json()


async def attempt_frame(
    unit: WorkUnit, renderer: Renderer, storage: Storage, *, attempt: int, retries: int
) -> FrameResult:
    """One attempt, from 1, to render a frame, told in the log; the task's, and of who has none."""
    logger = get_run_logger()
    try:
        result = await renderer.render(unit, attempt=attempt, final_attempt=attempt > retries)
    except Exception as error:
        failure = error if isinstance(error, PovstormError) else unexpected_failure(error)
        if failure is not error:
            # The renderer's own net tells it in POV-Ray's log; this came from elsewhere.
            logger.exception("%s", failure)
            await asyncio.to_thread(_store_unexpected, storage, unit, attempt, failure)
        if isinstance(failure, RenderError):
            await asyncio.to_thread(_keep_failure, storage, unit, attempt)
        # The line that says what is wrong comes first: the page shows where a record begins.
        text = await asyncio.to_thread(_povray_output, storage, unit)
        logger.error("%s\n\nPOV-Ray's output:\n%s", str(failure).partition("\n")[0], text)
        if failure is error:
            raise
        raise failure from error
    if not isinstance(storage, FolderStorage):
        # A call for each frame that went well would be made for nobody.
        log = FrameResults(storage, unit.job_id).log_uri(unit)
        logger.info("rendered by %s; POV-Ray's output: %s", result.host, log)
        return result
    text = await asyncio.to_thread(_povray_output, storage, unit)
    if text:
        logger.info("POV-Ray's output:\n%s", text)
    return result


def _attempt() -> int:
    context = TaskRunContext.get()
    return max(1, context.task_run.run_count) if context else 1


def _keep_failure(storage: Storage, unit: WorkUnit, attempt: int) -> None:
    """Keep what the attempt stored as its result, which the next one replaces; for the report."""
    try:
        FrameResults(storage, unit.job_id).keep_attempt(unit, attempt, time.time())
    except StorageError as error:
        # The frame's own error is the one to raise: it decides whether there is another attempt.
        get_run_logger().warning("attempt %d will not be in the report: %s", attempt, error)


def _store_unexpected(
    storage: Storage, unit: WorkUnit, attempt: int, failure: PovstormError
) -> None:
    """Store the failure of a frame that no renderer has stored one for."""
    now = time.time()
    try:
        FrameResults(storage, unit.job_id).fail(
            FrameResult(
                work_unit_id=unit.work_unit_id,
                job_id=unit.job_id,
                frame=unit.frame,
                state="failed",
                attempt=attempt,
                host=host_name(),
                started=now,
                ended=now,
                error=str(failure),
            )
        )
    except StorageError as error:
        get_run_logger().warning("the failure of %s is not stored: %s", unit.name, error)


def _povray_output(storage: Storage, unit: WorkUnit) -> str:
    """What POV-Ray printed, as far as it can be had: it decides about nothing."""
    try:
        printed = FrameResults(storage, unit.job_id).log(unit) or b""
        return readable(printed.decode(errors="replace"))[-_LOG_CHARACTERS:]
    except StorageError as error:
        return f"(not to be read: {error})"
