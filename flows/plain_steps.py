"""The steps of a job without Prefect, told in the run's journal; local_run has them run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from povstorm_client.frames.result import FrameResult
from povstorm_client.jobs.frame_results import Warn
from povstorm_client.jobs.manifest import JobManifest
from povstorm_client.jobs.statistics import JobStatistics
from povstorm_client.storage.protocol import Storage
from tasks.frames.map_frames import FrameRun
from tasks.frames.plain_runs import PlainRuns
from tasks.journal.events import StepBegun, StepEnded
from tasks.journal.journal import Journal
from tasks.renderers.renderer import Renderer
from tasks.report.job_run import JobRun
from tasks.steps.report_step import make_report_page
from tasks.steps.staging import lay_out
from tasks.steps.statistics_step import make_statistics
from tasks.steps.step import Step
from tasks.steps.video_step import make_video
from tasks.stored.frame_cache import FrameCache
from tasks.video.encode import ReadySegments

if TYPE_CHECKING:
    from tasks.report.previews import ReadyPreviews


class PlainSteps:
    """Calls what the tasks call. logger: the run's, which is in the journal too."""

    def __init__(self, journal: Journal, logger: logging.Logger) -> None:
        self.logger = logger
        self._journal = journal

    async def stage(self, storage: Storage, manifest: JobManifest) -> None:
        """Lay the shared files out."""
        with self._noted(Step.STAGE) as shown:
            shown.append(await lay_out(storage, manifest, self.logger.warning))

    async def frame_run(
        self,
        renderer: Renderer,
        storage: Storage,
        stored: Mapping[str, FrameResult],
        retries: int,
        warn: Warn,
        cache: FrameCache,
    ) -> FrameRun:
        """What runs a frame."""
        return PlainRuns(renderer, storage, stored, retries, self._journal, warn, cache)

    async def stitch(
        self,
        storage: Storage,
        manifest: JobManifest,
        results: list[FrameResult],
        on_progress: Callable[[int], None],
        ready: ReadySegments,
    ) -> dict[str, Any]:
        """Make the video."""
        with self._noted(Step.VIDEO) as shown:
            facts = await make_video(storage, manifest, results, on_progress, ready)
            shown.append(f"video: {facts}")
        return facts

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
        """Make the statistics."""
        with self._noted(Step.STATISTICS) as shown:
            statistics = await make_statistics(
                storage, manifest, results, video=video, started=started, ended=ended
            )
            shown.append(f"\n{statistics}")
        return statistics

    async def report(self, storage: Storage, run: JobRun, ready: ReadyPreviews | None) -> None:
        """Make the report."""
        with self._noted(Step.REPORT) as shown:
            report = await make_report_page(storage, run, ready)
            shown += [report.log_line, report.address, report.how, report.summary]

    @contextmanager
    def _noted(self, step: Step) -> Iterator[list[str]]:
        """Have the journal know of the step in the block, with what that says of it."""
        shown: list[str] = []
        self._journal.write(StepBegun(step))
        try:
            yield shown
        except BaseException as error:
            words = f"{type(error).__name__}: {error}"
            self._journal.write(StepEnded(step, error=words))
            raise
        self._journal.write(StepEnded(step, shown=tuple(shown)))
