"""The render-job flow: stage shared resources, render frames, stitch, collect statistics, report.

Deployments call render_job, each step of it a task run. A job that a client runs on its own
machine is run by local_run.py, and shown in Prefect by recorded_job.py as the same flow.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed, Failed
from prefect.utilities.annotations import quote

from flows.job_steps import run_steps
from flows.opened_job import opened_job
from flows.outcome import Outcome, with_cost
from flows.prefect_cancellation import cancelled_in_prefect
from flows.run_label import labelled
from povstorm_client.frames.result import FrameResult
from povstorm_client.jobs.frame_results import Warn
from povstorm_client.jobs.manifest import JobManifest
from povstorm_client.jobs.statistics import JobStatistics
from povstorm_client.run_logger import RunLogger
from povstorm_client.run_until import listen_to_sigterm
from povstorm_client.storage.job_address import open_job
from povstorm_client.storage.protocol import Storage
from tasks.artifacts.progress_artifact import progress_artifact
from tasks.collect_statistics import collect_statistics
from tasks.frames.map_frames import FrameRun
from tasks.frames.task_runs import TaskRuns
from tasks.make_report import make_report
from tasks.renderers.renderer import Renderer
from tasks.report.job_run import JobRun
from tasks.stage import stage_shared_resources
from tasks.stitch_video import stitch_video
from tasks.stored.frame_cache import FrameCache
from tasks.stored.result_storage import choose_result_storage
from tasks.video.encode import ReadySegments

if TYPE_CHECKING:
    from tasks.report.previews import ReadyPreviews

T = TypeVar("T")
FLOW = "render-job"


def job_id_of_run(**_: object) -> str:
    """The flow run's name: its job's id."""
    from prefect.runtime import flow_run

    return open_job(flow_run.parameters["job_uri"])[1]


@flow(name=FLOW, flow_run_name=job_id_of_run, persist_result=False)
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
    logger = get_run_logger()
    stop = asyncio.Event()
    async with opened_job(job_uri, gcp_credentials, stop, logger) as job:
        # Prefect listens to it as soon as a flow begins.
        listen_to_sigterm(job.stop)
        async with (
            labelled(job.progress.state.run, logger),
            cancelled_in_prefect(job.stop, logger),
            progress_artifact(lambda: job.progress.state),
        ):
            outcome = await run_steps(job, gcp_credentials, _TaskSteps(logger, gcp_credentials))
    return await state_of(outcome, job.storage, job.manifest)


async def state_of(outcome: Outcome, storage: Storage, manifest: JobManifest) -> State[None]:
    """The state of a flow run whose job has ended."""
    states = {"completed": Completed, "failed": Failed, "cancelled": Cancelled}
    message = await asyncio.to_thread(with_cost, outcome, storage, manifest)
    return states[outcome.phase](message=message)


class _TaskSteps:
    """Each step as a task run."""

    def __init__(self, logger: RunLogger, gcp_credentials: str) -> None:
        self.logger = logger
        self._gcp_credentials = gcp_credentials

    async def stage(self, storage: Storage, manifest: JobManifest) -> None:
        await stage_shared_resources(storage, manifest)

    async def frame_run(
        self,
        renderer: Renderer,
        storage: Storage,
        stored: Mapping[str, FrameResult],
        retries: int,
        warn: Warn,
        cache: FrameCache,
    ) -> FrameRun:
        results = await choose_result_storage(cache, self._gcp_credentials)
        return TaskRuns(renderer, storage, stored, results, retries)

    async def stitch(
        self,
        storage: Storage,
        manifest: JobManifest,
        results: list[FrameResult],
        on_progress: Callable[[int], None],
        ready: ReadySegments,
    ) -> dict[str, Any]:
        return await stitch_video(storage, manifest, _quoted(results), on_progress, _quoted(ready))

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
        return await collect_statistics(
            storage, manifest, _quoted(results), video=video, started=started, ended=ended
        )

    async def report(self, storage: Storage, run: JobRun, ready: ReadyPreviews | None) -> None:
        await make_report(storage, _quoted(run), _quoted(ready))


def _quoted(value: T) -> T:
    """The value for a task: Prefect would look through all of it for futures to wait for."""
    return cast("T", quote(value))
