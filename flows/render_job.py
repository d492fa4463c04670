"""The render-job flow: stage shared resources, render frames, stitch, collect statistics, report.

Deployments call render_job; the client runs this module as a child process for a local job:
``python -P -m flows.render_job JOB_URI GCP_CREDENTIALS TEMPORARY_FOLDER``, which stops when its
standard input is closed, and removes the folder when it has stopped.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State, StateType
from prefect.states import Cancelled, Completed, Failed
from prefect.tasks import Task
from prefect.utilities.annotations import quote

from flows.run_until import run_until
from flows.stop_request import stop_request
from povstorm_client.errors import PovstormError, StorageError
from povstorm_client.frames.doubled_outputs import doubled_outputs
from povstorm_client.frames.ranges import frame_ranges
from povstorm_client.frames.result import FrameResult
from povstorm_client.frames.work_unit import WorkUnit
from povstorm_client.jobs.frame_results import FrameResults
from povstorm_client.jobs.manifest import (
    JobManifest,
    check_frames,
    open_job,
    read_manifest,
    read_work_units,
)
from povstorm_client.jobs.state import Phase
from povstorm_client.jobs.statistics import JobStatistics
from povstorm_client.jobs.storage_marker import claim_storage
from povstorm_client.storage import disk_full
from povstorm_client.storage.credentials import google_credentials
from povstorm_client.storage.disk_full import is_disk_full
from povstorm_client.storage.parallel import CALLS_AT_ONCE
from povstorm_client.storage.protocol import Storage
from tasks.collect_statistics import collect_statistics
from tasks.frames.job_progress import JobProgress
from tasks.frames.map_frames import map_frames
from tasks.frames.remember_estimate import remember_estimate
from tasks.make_report import make_report
from tasks.renderers.choose_renderer import choose_renderer
from tasks.report.gather import JobRun
from tasks.report.previews_ahead import PreviewsAhead, previews_ahead
from tasks.stage import stage_shared_resources
from tasks.stitch_video import stitch_video
from tasks.stored.result_storage import choose_result_storage
from tasks.video.job_video import VideoAhead, video_ahead

if TYPE_CHECKING:
    from tasks.report.previews import ReadyPreviews

# Set by whoever wants the running flow to stop; the default never is.
stop_requested: ContextVar[asyncio.Event] = ContextVar("stop_requested")


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
    # Threads wait for storage and processes here; the default is made for computing.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(CALLS_AT_ONCE, "povstorm"))
    credentials = await asyncio.to_thread(google_credentials, gcp_credentials)
    storage, job_id = open_job(job_uri, credentials)
    await asyncio.to_thread(claim_storage, storage)
    manifest = await asyncio.to_thread(read_manifest, storage, job_id)
    asked = stop_requested.get(None) or asyncio.Event()
    async with (
        JobProgress(
            storage, job_id, len(manifest.frames), queued=manifest.cloud_run is not None
        ) as progress,
        stop_request(storage, job_id, asked, get_run_logger()) as stop,
    ):
        try:
            state = await run_until(
                stop,
                _pipeline(storage, manifest, progress, gcp_credentials),
            )
        except Exception as error:
            state = Failed(message=_told(error))
        if state is None:
            state = Cancelled(message="stopped; what is rendered stays, run the job again to go on")
        progress.enter(_PHASES[state.type], state.message or "")
        await progress.publish_artifact()
    return state


async def _pipeline(
    storage: Storage, manifest: JobManifest, progress: JobProgress, gcp_credentials: str
) -> State[None]:
    """Render, and report on it however that went, unless the storage would not take a report.

    A step that fails by an error that nobody expected costs itself only, and its traceback is in
    the log.
    """
    units = await asyncio.to_thread(read_work_units, storage, manifest.job_id)
    check_frames(manifest, units)
    previews: ReadyPreviews | None = None
    try:
        async with (
            video_ahead(storage, manifest, get_run_logger()) as video,
            previews_ahead(storage, manifest) as pictures,
        ):
            run = await _render(
                storage, manifest, units, progress, gcp_credentials, video, pictures
            )
            previews = await asyncio.to_thread(pictures.stop)
    except StorageError:
        raise
    except Exception as error:
        results = await asyncio.to_thread(FrameResults(storage, manifest.job_id).all)
        run = JobRun(manifest, units, results, None, completed=False, message=_told(error))
    progress.enter("reporting")
    # Quoted: Prefect would look through all results for futures to wait for.
    task: Task[..., Any] = make_report
    report = await task(storage, quote(run), quote(previews), return_state=True)
    message = run.message
    if not report.is_completed():
        # The job is what it is without one; Prefect has logged the exception.
        message += f"; there is no report: {report.message}"
    return Completed(message=message) if run.completed else Failed(message=message)


async def _render(
    storage: Storage,
    manifest: JobManifest,
    units: list[WorkUnit],
    progress: JobProgress,
    gcp_credentials: str,
    video_ahead: VideoAhead,
    previews_ahead: PreviewsAhead,
) -> JobRun:
    def on_final(result: FrameResult) -> None:
        video_ahead.frame_is_final(result)
        previews_ahead.frame_is_final(result)

    await stage_shared_resources(storage, manifest)
    progress.enter("rendering")
    chosen = await asyncio.to_thread(
        choose_renderer,
        storage,
        manifest,
        units,
        gcp_credentials=gcp_credentials,
        logger=get_run_logger(),
    )
    async with chosen as renderer:
        started = time.time()
        results = await map_frames(
            units,
            renderer=renderer,
            storage=storage,
            result_storage=await choose_result_storage(storage, gcp_credentials),
            retries=manifest.settings.retries,
            progress=progress,
            on_final=on_final,
        )
    ended = time.time()
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
            # Quoted, as the report's results below.
            stitch: Task[..., Any] = stitch_video
            ready = quote(video_ahead.stop())
            video = await stitch(storage, manifest, quote(results), progress.encoded, ready)
        except Exception as error:
            # The statistics of the frames are wanted all the same.
            complete, message = False, _told(error)
    statistics: JobStatistics | None = None
    try:
        statistics = await collect_statistics(
            storage, manifest, results, video=video, started=started, ended=ended
        )
    except StorageError:
        raise
    except Exception as error:
        message += f"; there are no statistics: {_told(error)}"
    return JobRun(manifest, units, results, statistics, completed=complete, message=message)


def _told(error: Exception) -> str:
    """An error for a state's message; one that is none of ours has its traceback in the log."""
    if isinstance(error, PovstormError):
        return str(error)
    said = " ".join(f"{type(error).__name__}: {error}".split())[:500]
    get_run_logger().error("%s", said, exc_info=error)
    return f"povstorm itself failed ({said}): please report it with the flow's log"


async def _run_until_stdin_closes(job_uri: str, gcp_credentials: str) -> int:
    stop = asyncio.Event()
    stop_requested.set(stop)
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), stop.set)
    state = await render_job(job_uri, gcp_credentials, return_state=True)
    if state.is_completed():
        return 0
    why = await state.aresult(raise_on_failure=False)
    # Its words for it may have found no room in the log.
    full = isinstance(why, BaseException) and is_disk_full(why)
    return disk_full.EXIT_STATUS if full else 1


def _main(job_uri: str, gcp_credentials: str, temporary: str) -> int:
    try:
        return asyncio.run(_run_until_stdin_closes(job_uri, gcp_credentials))
    except OSError as error:
        if not is_disk_full(error):
            raise
        return disk_full.EXIT_STATUS
    finally:
        # The client does so too, unless it was killed.
        shutil.rmtree(temporary, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
