"""The steps of a job, from its shared files to its report, whoever records them.

render_job runs them as Prefect's tasks, local_run without Prefect; it imports none.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from flows.ahead import plan_ahead
from flows.opened_job import STOPPED, OpenedJob
from flows.outcome import Outcome, error_in_words, missing_frames_in_words
from povstorm_client.errors import StorageError
from povstorm_client.frames.doubled_outputs import doubled_outputs
from povstorm_client.frames.result import FrameResult
from povstorm_client.frames.spread import bisected
from povstorm_client.frames.work_unit import WorkUnit
from povstorm_client.jobs.frame_results import FrameResults, Warn
from povstorm_client.jobs.manifest import JobManifest, check_frames, read_work_units
from povstorm_client.jobs.statistics import JobStatistics
from povstorm_client.quantities import counted
from povstorm_client.run_logger import RunLogger
from povstorm_client.run_until import run_until
from povstorm_client.storage.protocol import Storage
from tasks.frames.map_frames import FrameRun, map_frames
from tasks.frames.remember_estimate import remember_estimate
from tasks.renderers.choose_renderer import choose_renderer
from tasks.renderers.renderer import Renderer
from tasks.report.job_run import JobRun
from tasks.report.previews_ahead import PreviewsAhead, previews_ahead
from tasks.stored.frame_cache import FrameCache
from tasks.stored.stored_results import cache_key, find_stored_results
from tasks.video.encode import ReadySegments
from tasks.video.job_video import VideoAhead, video_ahead

if TYPE_CHECKING:
    from tasks.frames.waves_ahead import WavesAhead
    from tasks.report.previews import ReadyPreviews


class Steps(Protocol):
    """What run_steps has done for it: each step as a task run of Prefect's, or plainly."""

    @property
    def logger(self) -> RunLogger:
        """The run's."""

    async def stage(self, storage: Storage, manifest: JobManifest) -> None:
        """Lay the job's shared files out for its frames."""

    async def frame_run(
        self,
        renderer: Renderer,
        storage: Storage,
        stored: Mapping[str, FrameResult],
        retries: int,
        warn: Warn,
        cache: FrameCache,
    ) -> FrameRun:
        """What runs a frame. stored: results of an earlier run, by work unit id."""

    async def stitch(
        self,
        storage: Storage,
        manifest: JobManifest,
        results: list[FrameResult],
        on_progress: Callable[[int], None],
        ready: ReadySegments,
    ) -> dict[str, Any]:
        """Make the video; as tasks/steps/video_step.py says."""

    async def statistics(
        self,
        storage: Storage,
        manifest: JobManifest,
        results: list[FrameResult],
        *,
        video: dict[str, Any] | None,
        started: float,
        ended: float,
    ) -> JobStatistics:
        """Make the statistics; as tasks/steps/statistics_step.py says."""

    async def report(self, storage: Storage, run: JobRun, ready: ReadyPreviews | None) -> None:
        """Make the report; as tasks/steps/report_step.py says."""


async def run_steps(job: OpenedJob, gcp_credentials: str, steps: Steps) -> Outcome:
    """Run an opened job to its end, or until it is asked to stop, and say so in its state.

    gcp_credentials: name of a GcpCredentials block, "" for the application default.
    """
    try:
        outcome = await run_until(job.stop, _Run(job, gcp_credentials, steps).to_its_end())
    except Exception as error:
        outcome = Outcome("failed", error_in_words(error, steps.logger))
    if outcome is None:
        outcome = Outcome("cancelled", STOPPED)
    job.progress.enter(outcome.phase, outcome.message)
    return outcome


class _Run:
    def __init__(self, job: OpenedJob, gcp_credentials: str, steps: Steps) -> None:
        self._storage = job.storage
        self._manifest = job.manifest
        self._progress = job.progress
        self._gcp_credentials = gcp_credentials
        self._steps = steps
        self._logger = steps.logger

    async def to_its_end(self) -> Outcome:
        """Render, and report on it however that went, unless the storage would not take a report.

        A step that fails by an error that nobody expected costs itself only, and its traceback is
        in the log.
        """
        storage, manifest = self._storage, self._manifest
        units = await asyncio.to_thread(read_work_units, storage, manifest.job_id)
        check_frames(manifest, units)
        previews: ReadyPreviews | None = None
        try:
            async with (
                video_ahead(
                    storage,
                    manifest,
                    # Of another size than the first a frame would be an error of the video's.
                    units[0].settings.width * units[0].settings.height,
                    self._gcp_credentials,
                    self._logger,
                    self._progress.note,
                ) as video,
                previews_ahead(storage, manifest) as pictures,
            ):
                run = await self._render(units, video, pictures)
                previews = await asyncio.to_thread(pictures.stop)
        except StorageError:
            raise
        except Exception as error:
            results = await asyncio.to_thread(FrameResults(storage, manifest.job_id).all)
            message = error_in_words(error, self._logger)
            run = JobRun(manifest, units, results, None, completed=False, message=message)
        self._progress.enter("reporting")
        message = run.message
        try:
            await self._steps.report(storage, run, previews)
        except Exception as error:
            # The job is what it is without one; the step's log has the traceback.
            message += f"; there is no report: {type(error).__name__}: {error}"
        return Outcome("completed" if run.completed else "failed", message)

    async def _render(
        self, units: list[WorkUnit], encoder: VideoAhead, pictures: PreviewsAhead
    ) -> JobRun:
        def on_final(result: FrameResult) -> None:
            encoder.frame_is_final(result)
            pictures.frame_is_final(result)

        storage, manifest, progress = self._storage, self._manifest, self._progress
        await self._steps.stage(storage, manifest)
        progress.enter("rendering")
        results, started, ended = await self._frames(units, on_final)
        try:
            await asyncio.to_thread(remember_estimate, storage, manifest, units, results)
        except Exception as error:
            # Only the next run would have been planned by it.
            words = error_in_words(error, self._logger)
            self._logger.warning("what the frames took is not kept: %s", words)
        rendered = {result.frame for result in results if result.state == "rendered"}
        missing = [frame for frame in manifest.frames if frame not in rendered]
        complete = bool(rendered and (not missing or manifest.settings.allow_missing_frames))
        doubled = doubled_outputs(results)
        message = f"{len(rendered)} of {counted(len(manifest.frames), 'frame')}" + (
            f"; {doubled}" if doubled else ""
        )
        if not complete:
            message = missing_frames_in_words(manifest.frames, results)
        video = None
        if complete and manifest.settings.video:
            progress.enter("stitching")
            try:
                video = await self._steps.stitch(
                    storage, manifest, results, progress.encoded, encoder.stop()
                )
            except Exception as error:
                # The statistics of the frames are wanted all the same.
                complete, message = False, error_in_words(error, self._logger)
        statistics: JobStatistics | None = None
        try:
            statistics = await self._steps.statistics(
                storage, manifest, results, video=video, started=started, ended=ended
            )
        except StorageError:
            raise
        except Exception as error:
            message += f"; there are no statistics: {error_in_words(error, self._logger)}"
        return JobRun(manifest, units, results, statistics, completed=complete, message=message)

    async def _frames(
        self, units: list[WorkUnit], on_final: Callable[[FrameResult], None]
    ) -> tuple[list[FrameResult], float, float]:
        """The frames' results, and when their rendering began and ended, Unix seconds."""
        storage, manifest, logger = self._storage, self._manifest, self._logger
        warn = _once(logger)
        begun = time.time()
        found = await asyncio.to_thread(find_stored_results, storage, units, warn)
        stored = found.rendered
        chosen: Renderer = await asyncio.to_thread(
            choose_renderer,
            storage,
            manifest,
            units,
            gcp_credentials=self._gcp_credentials,
            logger=logger,
            tell=self._progress.note,
            known=found.others,
        )
        cache = FrameCache(storage, warn)
        ahead: WavesAhead | None = None
        if manifest.cloud_run is not None:
            ahead = plan_ahead(
                chosen,
                manifest,
                units,
                cache=cache,
                stored=stored,
                damaged=found.damaged,
                progress=self._progress,
            )
            chosen = ahead
        try:
            async with chosen as renderer:
                cache.complete(_by_name(units, stored, renderer.version))
                results = await map_frames(
                    units,
                    renderer=renderer,
                    storage=storage,
                    stored=stored,
                    run=await self._steps.frame_run(
                        renderer, storage, stored, manifest.settings.retries, warn, cache
                    ),
                    cache=cache,
                    progress=self._progress,
                    logger=logger,
                    warn=warn,
                    on_final=on_final,
                    in_turn=frames_in_turn(manifest, units) if ahead is None else ahead.in_turn,
                )
        finally:
            # Also of a run that is stopped: what it has rendered needs no rendering elsewhere.
            await cache.flush()
        return results, begun, time.time() if ahead is None else _last_end(results, begun)


def _by_name(
    units: Sequence[WorkUnit], stored: Mapping[str, FrameResult], version: str
) -> dict[str, FrameResult]:
    """The stored results that the cache may have for a renderer of this version."""
    return {
        cache_key(unit, version): result
        for unit in units
        if (result := stored.get(unit.work_unit_id)) and result.rendered_by == version
    }


def frames_in_turn(
    manifest: JobManifest, units: Sequence[WorkUnit]
) -> Callable[[Sequence[WorkUnit]], AsyncIterator[WorkUnit]] | None:
    """Of a preview here: frames that lie far apart first. One that goes on from others waits."""
    if not manifest.bisected or any(unit.link is not None for unit in units):
        return None
    places = {unit.work_unit_id: place for place, unit in enumerate(bisected(units))}

    async def in_turn(rest: Sequence[WorkUnit]) -> AsyncIterator[WorkUnit]:
        for unit in sorted(rest, key=lambda unit: places[unit.work_unit_id]):
            yield unit

    return in_turn


def _last_end(results: list[FrameResult], started: float) -> float:
    """When this run's last frame was done, Unix seconds; its task run may have come to it later."""
    now = time.time()
    return max((result.ended for result in results if started < result.ended <= now), default=now)


def _once(logger: RunLogger) -> Warn:
    """A function that logs a line unless it was: the cache may name what was found damaged."""
    told: set[str] = set()

    def warn(line: str) -> None:
        if line not in told:
            told.add(line)
            logger.warning("%s", line)

    return warn
