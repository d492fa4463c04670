"""The render-job flow: stage shared resources, render frames, stitch, collect statistics, report.

Deployments call render_job; for a local job local_run.py does, which has opened it before.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from prefect import flow
from prefect.client.schemas.objects import State, StateType
from prefect.states import Cancelled, Completed, Failed
from prefect.utilities.annotations import quote

from flows.ahead import Ahead, plan_ahead
from flows.opened_job import STOPPED, OpenedJob, opened_before, opened_job
from flows.prefect_cancellation import cancelled_in_prefect
from povstorm_client.errors import PovstormError, StorageError
from povstorm_client.frames.doubled_outputs import doubled_outputs
from povstorm_client.frames.ranges import frame_ranges
from povstorm_client.frames.result import FrameResult
from povstorm_client.frames.work_unit import WorkUnit
from povstorm_client.jobs.frame_results import FrameResults
from povstorm_client.jobs.manifest import (
    check_frames,
    read_work_units,
)
from povstorm_client.jobs.state import Phase
from povstorm_client.jobs.statistics import JobStatistics
from povstorm_client.run_until import listen_to_sigterm, run_until
from povstorm_client.storage.job_address import open_job
from povstorm_client.storage.protocol import Storage
from tasks.collect_statistics import collect_statistics
from tasks.frames.map_frames import map_frames
from tasks.frames.progress_artifact import progress_artifact
from tasks.frames.remember_estimate import remember_estimate
from tasks.job_run import JobRun
from tasks.make_report import make_report
from tasks.prefect_run import PrefectLostError, call, get_run_logger, is_recorded, unless_lost
from tasks.renderers.choose_renderer import choose_renderer
from tasks.renderers.renderer import Renderer
from tasks.report.previews_ahead import PreviewsAhead, previews_ahead
from tasks.stage import stage_shared_resources
from tasks.stitch_video import stitch_video
from tasks.stored.result_storage import FrameCache, choose_result_storage
from tasks.video.job_video import VideoAhead, video_ahead

if TYPE_CHECKING:
    from tasks.report.previews import ReadyPreviews

_PHASES: dict[StateType, Phase] = {
    StateType.COMPLETED: "completed",
    StateType.FAILED: "failed",
    StateType.CANCELLED: "cancelled",
}


def _job_id(**_: object) -> str:
    from prefect.runtime import flow_run

    return open_job(flow_run.parameters["job_uri"])[1]


@flow(name="render-job", flow_run_name=_job_id, persist_result=False)
async def render_job(job_uri: str, gcp_credentials: str = "") -> State[None]:
    """Render a stored job: images, video, statistics and report end up below its prefix.

    Ends Completed, Failed (naming the frames) or Cancelled; running a job again renders only what
    is missing.

    Args:
        job_uri: The job's address, STORAGE/jobs/JOB_ID, as `povstorm submit` prints it; for
            example gs://my-bucket/jobs/orbit-20260102-030405-ab12.
        gcp_credentials: The name of a GcpCredentials block for Google Cloud; leave it empty to
            use the application default credentials of where the flow runs.
    """
    async with AsyncExitStack() as stack:
        job = opened_before.get(None)
        if job is None:
            opening = opened_job(job_uri, gcp_credentials, asyncio.Event(), get_run_logger())
            job = await stack.enter_async_context(opening)
        # Prefect listens to it as soon as a flow begins.
        listen_to_sigterm(job.stop)
        return await run_job(job, gcp_credentials)


async def run_job(job: OpenedJob, gcp_credentials: str) -> State[None]:
    """Run an opened job to its end; recorded by Prefect as far as that is there (is_recorded).

    gcp_credentials: as of render_job.
    """
    job.begun.set()
    for line in job.ahead.warnings if job.ahead is not None else ():
        get_run_logger().warning("%s", line)
    async with (
        cancelled_in_prefect(job.stop, get_run_logger()),
        progress_artifact(lambda: job.progress.state),
    ):
        try:
            state = await run_until(job.stop, _pipeline(job, gcp_credentials))
        except Exception as error:
            state = Failed(message=_told(error))
        if state is None:
            state = Cancelled(message=STOPPED)
        job.end(_PHASES[state.type], state.message or "")
    return state


async def _pipeline(job: OpenedJob, gcp_credentials: str) -> State[None]:
    """Render, and report on it however that went, unless the storage would not take a report.

    A step that fails by an error that nobody expected costs itself only, and its traceback is in
    the log.
    """
    storage, manifest, progress = job.storage, job.manifest, job.progress
    if job.ahead is not None:
        units = job.ahead.units
    else:
        units = await asyncio.to_thread(read_work_units, storage, manifest.job_id)
        check_frames(manifest, units)
    previews: ReadyPreviews | None = None
    try:
        async with (
            video_ahead(storage, manifest, gcp_credentials, get_run_logger()) as video,
            previews_ahead(storage, manifest) as pictures,
        ):
            run = await _render(job, units, gcp_credentials, video, pictures)
            previews = await asyncio.to_thread(pictures.stop)
    except StorageError:
        raise
    except Exception as error:
        results = await asyncio.to_thread(FrameResults(storage, manifest.job_id).all)
        run = JobRun(manifest, units, results, None, completed=False, message=_told(error))
    progress.enter("reporting")
    # Quoted: Prefect would look through all results for futures to wait for.
    message = run.message
    try:
        await call(make_report, storage, quote(run), quote(previews))
    except Exception as error:
        # The job is what it is without one; the task's run and the log have the traceback.
        message += f"; there is no report: {type(error).__name__}: {error}"
    return Completed(message=message) if run.completed else Failed(message=message)


async def _render(
    job: OpenedJob,
    units: list[WorkUnit],
    gcp_credentials: str,
    encoder: VideoAhead,
    pictures: PreviewsAhead,
) -> JobRun:
    def on_final(result: FrameResult) -> None:
        encoder.frame_is_final(result)
        pictures.frame_is_final(result)

    storage, manifest, progress = job.storage, job.manifest, job.progress
    await call(stage_shared_resources, storage, manifest)
    progress.enter("rendering")
    chosen, ahead = await _renderer(job, units, gcp_credentials)
    async with chosen as renderer:
        started = time.time() if ahead is None else ahead.started
        cache = await _result_storage(storage, gcp_credentials)
        if cache is not None and ahead is not None:
            cache.has_none_of(ahead.not_cached)
        results = await map_frames(
            units,
            renderer=renderer,
            storage=storage,
            result_storage=cache,
            retries=manifest.settings.retries,
            progress=progress,
            on_final=on_final,
            stored=None if ahead is None else ahead.stored,
            in_turn=None if ahead is None else ahead.frames.in_turn,
        )
    ended = time.time() if ahead is None else _last_end(results, started)
    try:
        await asyncio.to_thread(remember_estimate, storage, manifest, units, results)
    except Exception as error:
        # Only the next run would have been planned by it.
        get_run_logger().warning("what the frames took is not kept: %s", _told(error))
    rendered = {result.frame for result in results if result.state == "rendered"}
    missing = [frame for frame in manifest.frames if frame not in rendered]
    complete = bool(rendered and (not missing or manifest.settings.allow_missing_frames))
    doubled = doubled_outputs(results)
    message = f"{len(rendered)} of {len(manifest.frames)} frames" + (
        f"; {doubled}" if doubled else ""
    )
    if not complete:
        first = next((result for result in results if result.state == "failed"), None)
        untried = len(manifest.frames) - len(results)
        message = (
            f"{len(missing)} of {len(manifest.frames)} frames were not rendered: "
            f"{frame_ranges(missing)}" + (f"; frame {first.frame}: {first.error}" if first else "")
        )
        if untried:
            message += f" ({untried} frames were not tried, since those that were failed alike)"
    video = None
    if complete and manifest.settings.video:
        progress.enter("stitching")
        try:
            # Quoted, as the report's results above.
            ready = quote(encoder.stop())
            video = await call(
                stitch_video, storage, manifest, quote(results), progress.encoded, ready
            )
        except Exception as error:
            # The statistics of the frames are wanted all the same.
            complete, message = False, _told(error)
    statistics: JobStatistics | None = None
    try:
        statistics = await call(
            collect_statistics,
            storage,
            manifest,
            results,
            video=video,
            started=started,
            ended=ended,
        )
    except StorageError:
        raise
    except Exception as error:
        message += f"; there are no statistics: {_told(error)}"
    return JobRun(manifest, units, results, statistics, completed=complete, message=message)


async def _renderer(
    job: OpenedJob, units: list[WorkUnit], gcp_credentials: str
) -> tuple[Renderer, Ahead | None]:
    """What is to be entered to render, and what is in work then before it is asked for."""
    ahead = job.ahead
    if ahead is not None and ahead.frames.is_at_work:
        return ahead.frames, ahead
    storage, manifest, logger = job.storage, job.manifest, get_run_logger()
    if manifest.cloud_run is None:
        choosing = asyncio.to_thread(
            choose_renderer,
            storage,
            manifest,
            units,
            gcp_credentials=gcp_credentials,
            logger=logger,
            tell=job.progress.note,
        )
        return await choosing, None
    ahead = await plan_ahead(
        storage, manifest, units, job.progress, gcp_credentials=gcp_credentials, logger=logger
    )
    for line in ahead.warnings:
        logger.warning("%s", line)
    return ahead.frames, ahead


def _last_end(results: list[FrameResult], started: float) -> float:
    """When this run's last frame was done, Unix seconds; its task run may have come to it later."""
    now = time.time()
    return max((result.ended for result in results if started < result.ended <= now), default=now)


async def _result_storage(storage: Storage, gcp_credentials: str) -> FrameCache | None:
    """Where Prefect keeps its cache; None where Prefect is not there."""
    if not is_recorded():
        return None
    try:
        return await unless_lost(choose_result_storage(storage, gcp_credentials))
    except PrefectLostError:
        return None


def _told(error: Exception) -> str:
    """An error for a state's message; one that is none of ours has its traceback in the log."""
    if isinstance(error, PovstormError):
        return str(error)
    said = " ".join(f"{type(error).__name__}: {error}".split())[:500]
    get_run_logger().error("%s", said, exc_info=error)
    return f"povstorm itself failed ({said}): please report it with the flow's log"
