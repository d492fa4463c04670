"""Map render_frame over a job's work units in one event loop; called by the render_job flow.

A thread pool would hold a thread for each of 10,000 waiting frames; here a task run starts only
when the renderer admits its frame.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import prefect
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
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
from tasks.frames.in_order import InOrder
from tasks.frames.job_progress import JobProgress
from tasks.prefect_run import get_run_logger, is_recorded
from tasks.render_frame import attempt_frame, can_pass, render_frame
from tasks.renderers.renderer import SAME_FAILURES, Renderer
from tasks.stored.result_storage import FrameCache
from tasks.stored.stored_results import find_stored_results, read_cache, write_cache

RenderFrame = Task[..., Any]


async def map_frames(
    units: list[WorkUnit],
    *,
    renderer: Renderer,
    storage: Storage,
    result_storage: FrameCache | None,
    retries: int,
    progress: JobProgress,
    on_final: Callable[[FrameResult], None] = lambda result: None,
    stored: Mapping[str, FrameResult] | None = None,
    in_turn: Callable[[Sequence[WorkUnit]], AsyncIterator[WorkUnit]] | None = None,
) -> list[FrameResult]:
    """Render all units; returns a FrameResult for each that was tried, ascending by frame.

    A frame that fails for good, by whatever error, leaves the others alone, unless the first ones
    all fail with the same error: then the rest is given up. result_storage: where Prefect keeps
    its cache; None if it is lost. on_final is told of each frame that is rendered, or has failed
    for good. stored: what find_stored_results has found, if it was asked. in_turn: when each
    frame's task run is to start; by default one after another, as admitted. What Prefect cannot
    record any more is rendered, retried and cached by the same rules without.

    Raises CloudError or ToolError if the renderer cannot render anything.
    """
    warn = _warn_once(get_run_logger())
    if stored is None:
        stored = await asyncio.to_thread(find_stored_results, storage, units, warn)
    outcomes = _Outcomes(progress, on_final)

    run = _Runs(renderer, storage, stored, result_storage, retries, warn).run

    async def rendered(unit: WorkUnit) -> FrameResult:
        with progress.working_on(unit):
            result, is_cached = await run(unit)
            if not is_cached:
                return result
            if unit.work_unit_id in stored:
                # The cache may know an equal frame of another job; this one has its own.
                return stored[unit.work_unit_id]
            adopted = await asyncio.to_thread(
                FrameResults(storage, unit.job_id).adopt, unit, result, warn
            )
            return adopted or (await run(unit, refresh=True))[0]

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

    in_order = InOrder()
    refused: BaseException | None = None
    heads = head_frames(units, stored)
    try:
        async with asyncio.TaskGroup() as group:

            async def start(unit: WorkUnit) -> asyncio.Task[FrameResult]:
                async with AsyncExitStack() as slot:
                    await slot.enter_async_context(renderer.admission(unit))
                    # The frame's task has it from here, and releases it however the frame ends.
                    task = group.create_task(render_one(unit, slot.pop_all()))
                in_order.begun(unit, task)
                return task

            ahead = await _go_ahead(heads, renderer, start)
            rest = [unit for unit in units if unit.work_unit_id not in ahead]
            async for unit in (in_turn or _one_by_one)(rest):
                if await in_order.can_go_on(unit):
                    await start(unit)
                else:
                    outcomes.add(unit, _broken_chain(unit), now=False)
    except* _AllFailAlike:
        pass  # the results say it all
    except* (CloudError, ToolError) as errors:
        refused = errors.exceptions[0]
    if refused is not None:
        raise refused
    return sorted(outcomes.results, key=lambda result: result.frame)


async def _one_by_one(units: Sequence[WorkUnit]) -> AsyncIterator[WorkUnit]:
    for unit in units:
        yield unit


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
        failing = asyncio.create_task(_has_failed(rendering))
        if not await has_failed_first(renderer, failing):
            break
        errors.append(rendering.result().error)
    if heads and len(errors) == len(heads) and len(set(errors)) == 1:
        raise _AllFailAlike
    return {unit.work_unit_id for unit in heads[: len(errors) + 1]}


async def _has_failed(rendering: asyncio.Task[FrameResult]) -> bool:
    return (await asyncio.shield(rendering)).state == "failed"


class _Runs:
    """A frame's task run, or, where Prefect records none, what that would do."""

    def __init__(
        self,
        renderer: Renderer,
        storage: Storage,
        stored: Mapping[str, FrameResult],
        result_storage: FrameCache | None,
        retries: int,
        warn: Callable[[str], None],
    ) -> None:
        self._renderer = renderer
        self._storage = storage
        self._stored = stored
        self._retries = retries
        self._warn = warn
        self._task: RenderFrame | None = None
        if result_storage is not None:
            self._task = render_frame.with_options(retries=retries, result_storage=result_storage)

    async def run(self, unit: WorkUnit, *, refresh: bool = False) -> tuple[FrameResult, bool]:
        """A frame's result, and whether it is the cache's; refresh: which is not to be asked."""
        kept = self._stored.get(unit.work_unit_id)
        if self._task is None or not is_recorded():
            return (kept, False) if kept else await self._unrecorded(unit, refresh=refresh)
        task = self._task.with_options(refresh_cache=True) if refresh else self._task
        # Quoted: Prefect would look through all of a unit's fields for futures to wait for.
        state: State[dict[str, Any]] = await task(
            quote(unit),
            quote(self._renderer),
            quote(self._storage),
            retries=self._retries,
            stored=quote(kept),
            return_state=True,
        )
        if (context := FlowRunContext.get()) is not None:
            # By these Prefect knows whose results are handed to other tasks, as a frame's never is;
            # they hold each task run's last state until the flow ends.
            context.run_results.clear()
        return FrameResult.from_json(await state.aresult()), state.name == "Cached"

    async def _unrecorded(self, unit: WorkUnit, *, refresh: bool) -> tuple[FrameResult, bool]:
        storage, renderer, retries = self._storage, self._renderer, self._retries
        if not refresh:
            reading = asyncio.to_thread(read_cache, storage, unit, renderer.version, self._warn)
            if (cached := await reading) is not None:
                return cached, True
        attempt = 1
        while True:
            attempting = attempt_frame(unit, renderer, storage, attempt=attempt, retries=retries)
            try:
                result = await attempting
                break
            except Exception as error:
                if attempt > retries or not can_pass(error):
                    raise
            # The delays of the task's retries.
            await asyncio.sleep(2 ** (attempt - 1) * random.uniform(1.0, 1.5))  # noqa: S311
            attempt += 1
        await asyncio.to_thread(write_cache, storage, unit, result, prefect.__version__)
        return result, False


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
    return _failed(unit, _line(error))


def _failed(unit: WorkUnit, error: str) -> FrameResult:
    return FrameResult(
        work_unit_id=unit.work_unit_id,
        job_id=unit.job_id,
        frame=unit.frame,
        state="failed",
        attempt=1,
        host="",
        started=0.0,
        ended=0.0,
        error=error,
    )


def _broken_chain(unit: WorkUnit) -> FrameResult:
    """Of a frame that was not tried, as the one that it goes on from is not there."""
    return _failed(unit, "the frame before it, which it goes on from, was not rendered")


def _line(error: Exception) -> str:
    told = error if isinstance(error, PovstormError) else unexpected_failure(error)
    return str(told)
