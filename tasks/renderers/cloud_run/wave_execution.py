"""WaveExecutions: a wave's Cloud Run execution from its start to its bill; the dispatcher's hands.

Each execution is started once, however often Google has to be asked, and found again by the
address of its wave where the answer was lost.
"""

from __future__ import annotations

import asyncio
import random
import time

from povstorm_client.cloud_run.api import CloudRunApi, ExecutionState, TaskState
from povstorm_client.cloud_run.wave_share import read_index
from povstorm_client.errors import CloudError, RecordError
from povstorm_client.quantities import duration
from povstorm_client.storage import layout
from tasks.renderers.cloud_run.wave import Wave, store_wave
from tasks.renderers.cloud_run.wave_setting import WaveSetting

# A started execution is listed within seconds; only then is a submit without an answer repeated.
_LOOKS_FOR_LOST_SUBMIT = 3


class WaveExecutions:
    """What is done to the executions of one job's waves. Methods raise CloudError."""

    def __init__(self, setting: WaveSetting, api: CloudRunApi) -> None:
        self._setting = setting
        self._api = api

    async def image(self) -> str:
        """The image that renders. Raises CloudError if a render job cannot be reached."""
        paths = [self._setting.fleet.job_path(job) for job in self._setting.fleet.jobs]
        images = [await asyncio.to_thread(self._api.image, path) for path in paths]
        return next((image for image in images if image), "")

    async def left_running(self) -> list[Wave]:
        """The waves that an earlier run of the job has started, and that have not ended."""
        waves: list[Wave] = []
        for size, job in enumerate(self._setting.fleet.jobs):
            path = self._setting.fleet.job_path(job)
            for execution in await asyncio.to_thread(self._api.executions, path):
                is_ours = execution.wave_uri.startswith(self._setting.waves_uri)
                if execution.completed is None and is_ours and not _encodes(execution.wave_uri):
                    waves += await self._left_wave(execution.name, execution.wave_uri, size)
        return waves

    async def _left_wave(self, execution: str, wave_uri: str, size: int) -> list[Wave]:
        wave_id = wave_uri.rpartition("/")[2]
        prefix = layout.wave(self._setting.job_id, wave_id)
        try:
            shares = await asyncio.to_thread(read_index, self._setting.storage, prefix)
        except RecordError as error:
            # What it renders is rendered a second time, which does no harm.
            self._setting.log.warning("%s is not taken over: %s", execution, error)
            return []
        self._setting.log.info("taking over %s, which an earlier run of the job started", execution)
        now = asyncio.get_running_loop().time()
        return [Wave(wave_id, prefix, shares, size, time.time(), now, execution=execution)]

    async def submit(self, wave: Wave) -> None:
        """Store the wave and start its execution, once, however often Google has to be asked."""
        shares = [
            [wave.waiting[unit] for unit in share if unit in wave.waiting] for share in wave.shares
        ]
        await asyncio.to_thread(
            store_wave,
            self._setting.storage,
            wave.prefix,
            [[frame for frame in share if not frame.result.done()] for share in shares],
            self._setting.settings,
        )
        pace, clock = self._setting.pace, asyncio.get_running_loop().time
        delay, began = pace.park_first, clock()
        while wave.execution is None:
            try:
                await self._run(wave)
            except CloudError as error:
                if error.kind == "refused":
                    raise
                if error.kind == "unclear":
                    wave.execution = await self.find(wave, _LOOKS_FOR_LOST_SUBMIT)
                if wave.execution is None:
                    if clock() - began >= pace.park_limit:
                        raise CloudError(
                            f"not started for {duration(clock() - began)}: {error}: look at the "
                            "quota with `povstorm doctor`, and run the job again later",
                            "refused",
                        ) from error
                    wave.waits_for = (
                        f"waiting for Google Cloud to start {wave.tasks} tasks, which is asked "
                        f"again for up to {duration(pace.park_limit)}; nothing is billed for them "
                        f"meanwhile ({error})"
                    )
                    self._setting.log.warning(
                        "wave %s waits %.0f s: %s", wave.wave_id, delay, error
                    )
                    jitter = random.uniform(0.75, 1.25)  # noqa: S311 - no secret
                    await asyncio.sleep(delay * jitter)
                    delay = min(2 * delay, pace.park_most)
        wave.waits_for = ""

    async def _run(self, wave: Wave) -> None:
        job_path, uri = self._setting.job_path(wave), self._setting.uri(wave)
        asking = asyncio.ensure_future(
            asyncio.to_thread(self._api.run, job_path, wave_uri=uri, tasks=wave.tasks)
        )
        try:
            wave.execution = await asyncio.shield(asking)
        except asyncio.CancelledError:
            # What was asked for cannot be taken back: its answer says what to stop.
            await asyncio.wait({asking})
            if asking.exception() is None:
                wave.execution = asking.result()
            raise
        wave.submitted = time.time()
        wave.launched = asyncio.get_running_loop().time()

    async def find(self, wave: Wave, looks: int) -> str | None:
        """The execution that a submit without an answer started after all."""
        job_path, uri = self._setting.job_path(wave), self._setting.uri(wave)
        for look in range(looks):
            if look:
                await asyncio.sleep(self._setting.pace.poll)
            for execution in await asyncio.to_thread(self._api.executions, job_path):
                if execution.wave_uri == uri:
                    self._setting.log.info("found %s, whose start had no answer", execution.name)
                    return execution.name
        return None

    async def look(self, wave: Wave) -> ExecutionState:
        """How far the execution of a started wave is."""
        return await asyncio.to_thread(self._api.execution, wave.execution or "")

    async def tasks(self, wave: Wave) -> list[TaskState]:
        """How far each of its tasks is."""
        return await asyncio.to_thread(self._api.tasks, wave.execution or "")

    async def stop(self, wave: Wave) -> None:
        """Cancel a wave's execution, also one whose start has not been answered."""
        try:
            execution = wave.execution or await self.find(wave, 1)
            if execution is not None:
                await asyncio.to_thread(self._api.cancel, execution)
                self._setting.log.info("stopped %s", execution)
        except CloudError as error:
            self._setting.log.error(
                "wave %s may be running, stop it by hand: %s", wave.wave_id, error
            )


def _encodes(wave_uri: str) -> bool:
    return layout.is_segment_wave(wave_uri.rpartition("/")[2])
