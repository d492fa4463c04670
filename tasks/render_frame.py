"""The render_frame task: one Prefect task run for each frame, cached on the frame's content.

The render_job flow maps it over a job's work units; retries, caching and history are Prefect's.
"""

from __future__ import annotations

import asyncio
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import CacheKeyFnPolicy
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import TaskRunContext
from prefect.tasks import Task, exponential_backoff

from povstorm_client.frames.result import FrameResult
from povstorm_client.frames.work_unit import WorkUnit
from povstorm_client.storage.protocol import Storage
from tasks.renderers.renderer import Renderer
from tasks.steps.frame_attempt import (
    RETRY_JITTER,
    RETRY_SECONDS,
    attempt_frame,
    can_pass,
    tell_output,
)
from tasks.stored.stored_results import cache_key


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


@task(
    name="render_frame",
    task_run_name="{unit.name}",
    cache_policy=CacheKeyFnPolicy(cache_key_fn=frame_cache_key),
    persist_result=True,
    result_serializer="json",
    retry_delay_seconds=exponential_backoff(backoff_factor=RETRY_SECONDS),
    retry_jitter_factor=RETRY_JITTER,
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
    logger = get_run_logger()
    result = await attempt_frame(
        unit, renderer, storage, attempt=_attempt(), retries=retries, logger=logger
    )
    await asyncio.to_thread(tell_output, storage, unit, result.host, logger)
    return result.to_json()


def _attempt() -> int:
    context = TaskRunContext.get()
    return max(1, context.task_run.run_count) if context else 1
