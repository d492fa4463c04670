"""Map render_frame over a job's work units in one event loop; called by the render_job flow.

A thread pool would hold a thread for each of 10,000 waiting frames; here a task run starts only
when the renderer admits its frame.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any

from prefect.client.schemas.objects import State
from prefect.tasks import Task
from prefect.utilities.annotations import quote

from povstorm_client import layout
from povstorm_client.errors import CloudError, RenderError, StorageError
from povstorm_client.frame_result import FrameResult
from povstorm_client.storage import Storage
from povstorm_client.work_unit import WorkUnit
from tasks.job_progress import JobProgress
from tasks.render_frame import render_frame
from tasks.renderers.renderer import Renderer
from tasks.result_storage import ResultStorage
from tasks.stored_results import adopt, find_stored_results

RenderFrame = Task[..., Any]

# As many frames failing alike, with none rendered, say that the scene is wrong, not a frame.
_SAME_FAILURES = 5


async def map_frames(
    units: list[WorkUnit],
    *,
    renderer: Renderer,
    storage: Storage,
    result_storage: ResultStorage,
    retries: int,
    progress: JobProgress,
) -> list[FrameResult]:
    """Render all units; returns a FrameResult for each that was tried, ascending by frame.

    A frame that fails for good leaves the others alone, unless the first ones all fail with the
    same error: then the rest is given up. result_storage: where Prefect keeps its cache.

    Raises CloudError if the renderer cannot render anything.
    """
    task = render_frame.with_options(retries=retries, result_storage=result_storage)
    stored = await asyncio.to_thread(find_stored_results, storage, units)
    results: list[FrameResult] = []
    failures: Counter[str] = Counter()

    async def run(task: RenderFrame, unit: WorkUnit) -> State[dict[str, Any]]:
        # Quoted: Prefect would look through all of a unit's fields for futures to wait for.
        state: State[dict[str, Any]] = await task(
            quote(unit),
            quote(renderer),
            quote(storage),
            retries=retries,
            stored=quote(stored.get(unit.work_unit_id)),
            return_state=True,
        )
        return state

    async def render_one(unit: WorkUnit, admitted: AbstractAsyncContextManager[None]) -> None:
        try:
            with progress.working_on(unit):
                state = await run(task, unit)
                result = FrameResult.from_json(await state.aresult())
                if state.name == "Cached" and unit.work_unit_id in stored:
                    # The cache may know an equal frame of another job; this one has its own.
                    result = stored[unit.work_unit_id]
                elif state.name == "Cached":
                    adopted = await asyncio.to_thread(adopt, storage, unit, result)
                    if adopted is None:
                        again = await run(task.with_options(refresh_cache=True), unit)
                        adopted = FrameResult.from_json(await again.aresult())
                    result = adopted
            results.append(result)
            progress.rendered(
                unit,
                cached=result.cache_hit,
                now=not result.cache_hit and unit.work_unit_id not in stored,
            )
        except (RenderError, StorageError) as error:
            failed = await asyncio.to_thread(_failed_result, storage, unit, error)
            results.append(failed)
            failures[failed.error] += 1
            progress.failed(unit)
            if failures[failed.error] == len(results) == _SAME_FAILURES:
                raise _AllFailAlike from error
        finally:
            await admitted.__aexit__(None, None, None)

    refused: BaseException | None = None
    try:
        async with asyncio.TaskGroup() as group:
            for unit in units:
                admitted = renderer.admission(unit)
                await admitted.__aenter__()
                group.create_task(render_one(unit, admitted))
    except* _AllFailAlike:
        pass  # the results say it all
    except* CloudError as errors:
        refused = errors.exceptions[0]
    if refused is not None:
        raise refused
    return sorted(results, key=lambda result: result.frame)


class _AllFailAlike(Exception):  # noqa: N818 - a signal
    """The scene is wrong, not a frame: the other frames are cancelled."""


def _failed_result(storage: Storage, unit: WorkUnit, error: Exception) -> FrameResult:
    """What the last attempt stored, or, where it could store nothing, what is known of it."""
    key = layout.result(unit.job_id, unit.work_unit_id)
    try:
        stored = FrameResult.from_json(json.loads(storage.read(key)))
        return replace(stored, state="failed")
    except (StorageError, ValueError):
        return FrameResult(
            work_unit_id=unit.work_unit_id,
            job_id=unit.job_id,
            frame=unit.frame,
            state="failed",
            attempt=1,
            host="",
            started=0.0,
            ended=0.0,
            error=str(error),
        )
