"""CloudRunRenderer: frames as array tasks of Cloud Run jobs, gathered into waves.

One execution a frame would pay start-up and the least billed minute for each, at a rate that
Google limits. So the frames that wait are planned and started together, by the Dispatcher. What
became of them is learned by listing the job's results, and from the state of the execution if a
container was lost. choose_renderer makes it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from povstorm_client.cloud_run import prices_and_limits
from povstorm_client.cloud_run.api import CloudRunApi
from povstorm_client.cloud_run.fleet import CloudRunFleet
from povstorm_client.cloud_run.frame_times import FrameTimes
from povstorm_client.cloud_run.scene_estimate import Estimate
from povstorm_client.frames.job_settings import JobSettings
from povstorm_client.frames.result import FrameResult
from povstorm_client.frames.work_unit import WorkUnit
from povstorm_client.run_logger import RunLogger
from povstorm_client.storage.protocol import Storage
from tasks.renderers.cloud_run.dispatcher import Dispatcher
from tasks.renderers.cloud_run.frame_wave import WaitingFrame
from tasks.renderers.cloud_run.wave_planner import WavePlanner
from tasks.renderers.cloud_run.wave_setting import Pace, Tell, WaveSetting
from tasks.waves.executions import Executions


class CloudRunRenderer:
    """Renders on Cloud Run; one dispatcher gathers frames, starts waves and collects results.

    known: StoredObject.version of the results that whoever chose the frames has found, by work
    unit id: what was stored since is news. None: what is stored when it is opened is none.
    """

    def __init__(
        self,
        storage: Storage,
        job_id: str,
        fleet: CloudRunFleet,
        api: CloudRunApi,
        *,
        estimate: Estimate | None = None,
        times: FrameTimes | None = None,
        settings: JobSettings | None = None,
        pace: Pace | None = None,
        logger: RunLogger | None = None,
        tell: Tell | None = None,
        known: Mapping[str, tuple[float, int]] | None = None,
    ) -> None:
        log = logger or logging.getLogger(__name__)
        setting = WaveSetting(
            storage,
            job_id,
            fleet,
            settings or JobSettings(),
            pace or Pace(),
            log,
            tell or (lambda _: None),
        )
        self._planner = WavePlanner(fleet, estimate or Estimate(), times)
        self._executions = Executions(api, fleet, setting.waves_uri, setting.pace, log)
        self._dispatcher = Dispatcher(setting, self._executions, self._planner, known)
        self._version = ""
        # What one wave can take: more frames would only read Running long before their turn.
        self._admitted = asyncio.Semaphore(prices_and_limits.MOST_TASKS_PER_EXECUTION)

    @property
    def version(self) -> str:
        """The image that renders: POV-Ray's version and everything around it."""
        return self._version

    @property
    def measured(self) -> Estimate:
        """What the frames of this run took."""
        return self._planner.measured

    async def __aenter__(self) -> CloudRunRenderer:
        await self.open()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close(orderly=exception[0] is None)

    async def open(self) -> None:
        """Ask for the image, and take over what an earlier run of the job has left running.

        Raises CloudError if a render job cannot be reached: nothing was spent then.
        """
        self._version = await self._executions.image()
        await self._dispatcher.begin(self._version)

    async def close(self, *, orderly: bool) -> None:
        """End the dispatcher, and stop executions with frames that nobody waits for any more.

        orderly: whether containers that have stored all their frames are waited for, for a while.
        """
        await self._dispatcher.end(orderly=orderly)

    def begin(
        self, units: Sequence[WorkUnit], *, final_attempt: bool
    ) -> list[asyncio.Future[FrameResult]]:
        """Have the first attempt at all these frames in work: what each will be, in their order.

        A future ends as render does.
        """
        loop = asyncio.get_running_loop()
        since, arrived = loop.time(), time.time()
        frames = [
            WaitingFrame(unit, 1, final_attempt, since, arrived, loop.create_future())
            for unit in units
        ]
        self._dispatcher.add_all(frames)
        return [frame.result for frame in frames]

    def expect(self, unit: WorkUnit) -> None:
        """A frame will be tried again in a moment: the next wave is to take it along."""
        self._dispatcher.gathering.expect(unit.work_unit_id)

    def expect_no_more(self, unit: WorkUnit) -> None:
        """It has come, or is given up."""
        self._dispatcher.gathering.expect_no_more(unit.work_unit_id)

    @asynccontextmanager
    async def admission(self, unit: WorkUnit) -> AsyncIterator[None]:
        """Wait until one more frame fits into what a wave can take."""
        async with self._admitted:
            self._dispatcher.gathering.expect(unit.work_unit_id)
            try:
                yield
            finally:
                self._dispatcher.gathering.expect_no_more(unit.work_unit_id)

    async def render(self, unit: WorkUnit, *, attempt: int, final_attempt: bool) -> FrameResult:
        """Have one frame rendered; RenderError if it fails, CloudError if none can be."""
        loop = asyncio.get_running_loop()
        frame = WaitingFrame(
            unit, attempt, final_attempt, loop.time(), time.time(), loop.create_future()
        )
        self._dispatcher.add(frame)
        self._dispatcher.gathering.expect_no_more(unit.work_unit_id)
        try:
            return await frame.result
        finally:
            self._dispatcher.gathering.forget(frame)

    async def has_parsed(self) -> None:
        """The first wave is a sample, where the rest does not start with it."""
