"""Map a frame's run over a job's work units in one event loop; job_steps calls it.

A thread pool would hold a thread for each of 10,000 waiting frames; here a run starts only when the
renderer admits its frame. It imports no Prefect.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Protocol

from povstorm_client.errors import CloudError, PovstormError, StorageError, ToolError
from povstorm_client.frames.result import FrameResult
from povstorm_client.frames.work_unit import WorkUnit
from povstorm_client.jobs.frame_outputs import is_intact
from povstorm_client.jobs.frame_results import FrameResults, Warn
from povstorm_client.run_logger import RunLogger
from povstorm_client.storage.protocol import Storage
from render_image.unexpected import unexpected_failure
from tasks.frames.head_start import has_failed_first, head_frames
from tasks.frames.in_order import InOrder
from tasks.frames.job_progress import JobProgress
from tasks.renderers.renderer import SAME_FAILURES, Renderer
from tasks.stored.frame_cache import FrameCache
from tasks.stored.stored_results import cache_key


class FrameRun(Protocol):
    """Runs a frame to its end, with its retries and the cache: task_runs.py or plain_runs.py."""

    async def __call__(self, unit: WorkUnit, *, refresh: bool = False) -> tuple[FrameResult, bool]:
        """A frame's result, and whether it is the cache's; refresh: which is not to be asked."""


async def map_frames(
    units: list[WorkUnit],
    *,
    renderer: Renderer,
    storage: Storage,
    stored: Mapping[str, FrameResult],
    run: FrameRun,
    cache: FrameCache,
    progress: JobProgress,
    logger: RunLogger,
    warn: Warn,
    on_final: Callable[[FrameResult], None] = lambda result: None,
    in_turn: Callable[[Sequence[WorkUnit]], AsyncIterator[WorkUnit]] | None = None,
) -> list[FrameResult]:
    """Render all units; returns a FrameResult for each that was tried, ascending by frame.

    A frame that fails for good, by whatever error, leaves the others alone, unless the first ones
    all fail with the same error: then the rest is given up. stored: what find_stored_results has
    found. cache: which is told of frames that are taken over from it. warn is told of what it has
    that is none, on_final of each frame that is rendered, or has failed for good. in_turn: when
    each frame's run is to start; by default one after another, as admitted.

    Raises CloudError or ToolError if the renderer cannot render anything.
    """
    outcomes = _Outcomes(progress, on_final)

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
            if adopted is None:
                return (await run(unit, refresh=True))[0]
            if adopted.cache_hit:
                # The job that it was taken from may be deleted before this one.
                await cache.write(cache_key(unit, renderer.version), adopted)
            return adopted

    async def render_one(unit: WorkUnit, slot: AsyncExitStack) -> FrameResult:
        async with slot:
            try:
                result = await rendered(unit)
            except (CloudError, ToolError):
                raise
            except Exception as error:
                if not isinstance(error, PovstormError):
                    logger.exception("%s failed by an error of ours", unit.name)
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
        self._failures[result.what_failed] += 1
        self._progress.failed(unit)
        if self._failures[result.what_failed] == len(self.results) == SAME_FAILURES:
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
        errors.append(rendering.result().what_failed)
    if heads and len(errors) == len(heads) and len(set(errors)) == 1:
        raise _AllFailAlike
    return {unit.work_unit_id for unit in heads[: len(errors) + 1]}


async def _has_failed(rendering: asyncio.Task[FrameResult]) -> bool:
    return (await asyncio.shield(rendering)).state == "failed"


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
