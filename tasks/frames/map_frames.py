"""Map render_frame over a job's work units in one event loop; called by the render_job flow.

A thread pool would hold a thread for each of 10,000 waiting frames; here a task run starts only
when the renderer admits its frame.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

from prefect import get_run_logger
from prefect.client.schemas.objects import State
from prefect.tasks import Task
from prefect.utilities.annotations import quote

from povstorm_client.errors import CloudError, PovstormError, StorageError, ToolError
from povstorm_client.frames.result import FrameResult
from povstorm_client.frames.work_unit import WorkUnit
from povstorm_client.jobs.frame_outputs import is_intact
from povstorm_client.jobs.frame_results import FrameResults
from povstorm_client.storage.protocol import Storage
from render_image.unexpected import unexpected_failure
from tasks.frames.head_start import has_failed_first, head_frames
from tasks.frames.job_progress import JobProgress
from tasks.render_frame import render_frame
from tasks.renderers.renderer import SAME_FAILURES, Renderer
from tasks.stored.result_storage import FrameCache
from tasks.stored.stored_results import find_stored_results

RenderFrame = Task[..., Any]


async def map_frames(
    units: list[WorkUnit],
    *,
    renderer: Renderer,
    storage: Storage,
    result_storage: FrameCache,
    retries: int,
    progress: JobProgress,
    on_final: Callable[[FrameResult], None] = lambda result: None,
) -> list[FrameResult]:
    """Render all units; returns a FrameResult for each that was tried, ascending by frame.

    A frame that fails for good, by whatever error, leaves the others alone, unless the first ones
    all fail with the same error: then the rest is given up. result_storage: where Prefect keeps
    its cache. on_final is told of each frame that is rendered, or has failed for good.

    Raises CloudError or ToolError if the renderer cannot render anything.
    """
    task = render_frame.with_options(retries=retries, result_storage=result_storage)
    warn = _warn_once(get_run_logger())
    stored = await asyncio.to_thread(find_stored_results, storage, units, warn)
    outcomes = _Outcomes(progress, on_final)

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

    async def rendered(unit: WorkUnit) -> FrameResult:
        with progress.working_on(unit):
            state = await run(task, unit)
            result = FrameResult.from_json(await state.aresult())
            if state.name != "Cached":
                return result
            if unit.work_unit_id in stored:
                # The cache may know an equal frame of another job; this one has its own.
                return stored[unit.work_unit_id]
            adopted = await asyncio.to_thread(
                FrameResults(storage, unit.job_id).adopt, unit, result, warn
            )
            if adopted is None:
                again = await run(task.with_options(refresh_cache=True), unit)
                adopted = FrameResult.from_json(await again.aresult())
            return adopted

    async def render_one(unit: WorkUnit, slot: AsyncExitStack) -> FrameResult:
        async with slot:
            try:
                result = await rendered(unit)
            except (CloudError, ToolError):
                raise
            except Exception as error:
                if not isinstance(error, PovstormError):
                    get_run_logger().exception("%s failed by an error of ours", unit.name)
                result = await asyncio.to_thread(_outcome, storage, unit, error)
        was_rendered_now = not result.cache_hit and unit.work_unit_id not in stored
        outcomes.add(unit, result, now=was_rendered_now)
        return result

    refused: BaseException | None = None
    heads = head_frames(units, stored)
    try:
        async with asyncio.TaskGroup() as group:

            async def start(unit: WorkUnit) -> asyncio.Task[FrameResult]:
                async with AsyncExitStack() as slot:
                    await slot.enter_async_context(renderer.admission(unit))
                    # The frame's task has it from here, and releases it however the frame ends.
                    return group.create_task(render_one(unit, slot.pop_all()))

            ahead = await _go_ahead(heads, renderer, start)
            for unit in units:
                if unit.work_unit_id not in ahead:
                    await start(unit)
    except* _AllFailAlike:
        pass  # the results say it all
    except* (CloudError, ToolError) as errors:
        refused = errors.exceptions[0]
    if refused is not None:
        raise refused
    return sorted(outcomes.results, key=lambda result: result.frame)


def _warn_once(logger: logging.Logger | logging.LoggerAdapter[Any]) -> Callable[[str], None]:
    """A function that logs a line unless it was: the cache may name what was found damaged."""
    told: set[str] = set()

    def warn(line: str) -> None:
        if line not in told:
            told.add(line)
            logger.warning("%s", line)

    return warn


class _Outcomes:
    """The results so far, as they come."""

    def __init__(self, progress: JobProgress, on_final: Callable[[FrameResult], None]) -> None:
        self.results: list[FrameResult] = []
        self._failures: Counter[str] = Counter()
        self._progress = progress
        self._on_final = on_final

    def add(self, unit: WorkUnit, result: FrameResult, *, now: bool) -> None:
        """Take one more; _AllFailAlike when it shows that the scene is wrong.

        now: whether this run has rendered it.
        """
        self.results.append(result)
        self._on_final(result)
        if result.state == "rendered":
            self._progress.rendered(unit, cached=result.cache_hit, now=now)
            return
        self._failures[result.error] += 1
        self._progress.failed(unit)
        if self._failures[result.error] == len(self.results) == SAME_FAILURES:
            raise _AllFailAlike


async def _go_ahead(
    heads: list[WorkUnit],
    renderer: Renderer,
    start: Callable[[WorkUnit], Awaitable[asyncio.Task[FrameResult]]],
) -> set[str]:
    """Start heads, one after another, until one does not fail at once; returns those started.

    Raises _AllFailAlike if all of them have failed with the same error.
    """
    errors: list[str] = []
    for unit in heads:
        rendering = await start(unit)
        if not await has_failed_first(renderer, rendering):
            break
        errors.append(rendering.result().error)
    if heads and len(errors) == len(heads) and len(set(errors)) == 1:
        raise _AllFailAlike
    return {unit.work_unit_id for unit in heads[: len(errors) + 1]}


class _AllFailAlike(Exception):  # noqa: N818 - a signal
    """The scene is wrong, not a frame: the other frames are cancelled."""


def _outcome(storage: Storage, unit: WorkUnit, error: Exception) -> FrameResult:
    """What storage has of a frame whose task failed; or, where it has nothing, what is known.

    An image and a result that are stored are a rendered frame, whatever failed after that.
    """
    stored = FrameResults(storage, unit.job_id).read_if_readable(unit)
    try:
        if stored is not None and stored.state == "rendered" and is_intact(storage, stored):
            return stored
    except StorageError:
        stored = None
    if stored is not None and stored.state != "rendered":
        return replace(stored, state="failed", error=stored.error or _line(error))
    return FrameResult(
        work_unit_id=unit.work_unit_id,
        job_id=unit.job_id,
        frame=unit.frame,
        state="failed",
        attempt=1,
        host="",
        started=0.0,
        ended=0.0,
        error=_line(error),
    )


def _line(error: Exception) -> str:
    told = error if isinstance(error, PovstormError) else unexpected_failure(error)
    return str(told)
