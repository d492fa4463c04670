"""Executions: a wave's Cloud Run execution, started once, found again, taken over, stopped.

Who starts waves calls it: of frames the dispatcher, of a video's segments SegmentDispatcher.
However often Google has to be asked, a wave is executed once: where an answer was lost, its
execution is looked for by the wave's address, which is its argument, before it is asked for again.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from povstorm_client.cloud_run.api import CloudRunApi, ExecutionState, TaskState
from povstorm_client.cloud_run.fleet import CloudRunFleet
from povstorm_client.errors import CloudError, RecordError
from povstorm_client.quantities import duration
from povstorm_client.run_logger import RunLogger
from tasks.waves.wave import Wave

# A started execution is listed within seconds; only then is a submit without an answer repeated.
_LOOKS_FOR_LOST_SUBMIT = 3
_AnyWave = Wave[Any]
_WaveT = TypeVar("_WaveT", bound=_AnyWave)


@dataclass(frozen=True, kw_only=True)
class ExecutionPace:
    """Seconds.

    poll: between looks at executions, and what they have stored. park_first, park_most: before
    asking again when a quota is used up; park_limit: how long room is waited for while no other
    wave is at work, to start an execution, and for a task of one that has started. unbegun: after
    which of a started one without a task at work it is said that it waits. finish: how long
    containers that have nothing left to do may take to end. grants: before each further wave, where
    the bucket lets no container in; Google's grants take 2 to 7 minutes to be in force.
    """

    poll: float
    park_first: float
    park_most: float
    park_limit: float
    unbegun: float
    finish: float
    grants: tuple[float, ...] = (30.0, 60.0, 120.0, 240.0)

    @property
    def room_is_waited_for(self) -> str:
        """How long, in words: what other waves use may be the room that one waits for."""
        limit = duration(self.park_limit)
        return f"for up to {limit}, and as long as others of the job are at work"


def waits_to_begin(wave: _AnyWave, pace: ExecutionPace) -> str:
    """A line for people of a wave that has started, and of which no task is at work."""
    return (
        f"waiting for Google Cloud to begin {wave.tasks} tasks, {pace.room_is_waited_for}: the "
        "region's quota may be in use (povstorm doctor tells it); nothing is billed for them "
        "meanwhile"
    )


class Executions:
    """The executions of one job's waves, by the render jobs of a fleet. Methods raise CloudError.

    waves_uri: what the uris of all waves of the job begin with.
    """

    def __init__(
        self,
        api: CloudRunApi,
        fleet: CloudRunFleet,
        waves_uri: str,
        pace: ExecutionPace,
        logger: RunLogger,
    ) -> None:
        self._api = api
        self._fleet = fleet
        self._waves_uri = waves_uri
        self._pace = pace
        self._log = logger

    def _job_path(self, wave: _AnyWave) -> str:
        return self._fleet.job_path(self._fleet.jobs[wave.size])

    def _uri(self, wave: _AnyWave) -> str:
        return f"{self._waves_uri}{wave.wave_id}"

    async def image(self) -> str:
        """The image that renders. Raises CloudError if a render job cannot be reached."""
        paths = [self._fleet.job_path(job) for job in self._fleet.jobs]
        images = [await asyncio.to_thread(self._api.image, path) for path in paths]
        return next((image for image in images if image), "")

    async def start(
        self,
        wave: _AnyWave,
        make_smaller: Callable[[], Awaitable[bool]] | None = None,
        is_too_late: Callable[[], bool] | None = None,
    ) -> None:
        """Start the execution of a stored wave; it has its name then.

        Cancelled meanwhile, it waits for an answer, and whoever ends the wave knows what to stop.
        Google is asked again until that is too late, by default as long as the pace allows; then,
        or once it refuses, its error is raised.

        make_smaller: where Google has no room for all tasks, takes some from the wave, stores what
        is left, and says whether it did.
        """
        clock = asyncio.get_running_loop().time
        delay, limit = self._pace.park_first, clock() + self._pace.park_limit
        is_too_late = is_too_late or (lambda: clock() >= limit)
        while wave.execution is None:
            try:
                await self._ask(wave)
            except CloudError as error:
                if error.kind == "unclear":
                    wave.execution = await self._find(wave, _LOOKS_FOR_LOST_SUBMIT)
                    wave.is_unanswered = False
                if wave.execution is None:
                    if error.kind == "refused" or is_too_late():
                        raise
                    if error.kind == "room" and make_smaller is not None and await make_smaller():
                        continue
                    wave.waits_for = (
                        f"waiting for Google Cloud to start {wave.tasks} tasks, which is asked "
                        f"again {self._pace.room_is_waited_for}; nothing is billed for them "
                        f"meanwhile ({error})"
                    )
                    self._log.warning("wave %s waits %.0f s: %s", wave.wave_id, delay, error)
                    jitter = random.uniform(0.75, 1.25)  # noqa: S311 - no secret
                    await asyncio.sleep(delay * jitter)
                    delay = min(2 * delay, self._pace.park_most)
        wave.waits_for = ""

    async def _ask(self, wave: _AnyWave) -> None:
        job_path, uri = self._job_path(wave), self._uri(wave)
        asking = asyncio.ensure_future(
            asyncio.to_thread(self._api.run, job_path, wave_uri=uri, tasks=wave.tasks)
        )
        wave.is_unanswered = True
        try:
            wave.execution = await asyncio.shield(asking)
        except asyncio.CancelledError:
            # What was asked for cannot be taken back: its answer says what to stop.
            await asyncio.wait({asking})
            error = asking.exception()
            if error is None:
                wave.execution = asking.result()
            wave.is_unanswered = isinstance(error, CloudError) and error.kind == "unclear"
            raise
        except CloudError as error:
            wave.is_unanswered = error.kind == "unclear"
            raise
        wave.is_unanswered = False
        wave.submitted = time.time()
        wave.launched = asyncio.get_running_loop().time()

    async def _find(self, wave: _AnyWave, looks: int) -> str | None:
        """The execution that a submit without an answer started after all."""
        for look in range(looks):
            if look:
                await asyncio.sleep(self._pace.poll)
            for execution in await asyncio.to_thread(self._api.executions, self._job_path(wave)):
                if execution.wave_uri == self._uri(wave):
                    self._log.info("found %s, whose start had no answer", execution.name)
                    return execution.name
        return None

    async def left_running(
        self, is_ours: Callable[[str], bool], read: Callable[[str, int], _WaveT]
    ) -> list[_WaveT]:
        """The waves that an earlier run of the job has started, and that have not ended.

        is_ours: whether a wave, by its id, is of those that are wanted. read: the wave of this id
        and size as it is stored; where that raises RecordError, it is left alone: what it does is
        done a second time, which does no harm.
        """
        waves: list[_WaveT] = []
        for size, job in enumerate(self._fleet.jobs):
            path = self._fleet.job_path(job)
            for execution in await asyncio.to_thread(self._api.executions, path):
                wave_id = execution.wave_uri.removeprefix(self._waves_uri)
                is_of_job = execution.wave_uri.startswith(self._waves_uri)
                if execution.completed is not None or not is_of_job or not is_ours(wave_id):
                    continue
                try:
                    wave = await asyncio.to_thread(read, wave_id, size)
                except RecordError as error:
                    self._log.warning("%s is not taken over: %s", execution.name, error)
                    continue
                self._log.info(
                    "taking over %s, which an earlier run of the job started", execution.name
                )
                wave.execution = execution.name
                wave.launched = asyncio.get_running_loop().time()
                waves.append(wave)
        return waves

    async def look(self, wave: _AnyWave) -> ExecutionState:
        """How far the execution of a started wave is."""
        return await asyncio.to_thread(self._api.execution, wave.execution or "")

    async def tasks(self, wave: _AnyWave) -> list[TaskState]:
        """How far each of its tasks is."""
        return await asyncio.to_thread(self._api.tasks, wave.execution or "")

    async def cancel(self, wave: _AnyWave) -> None:
        """Have Google end the execution of a started wave; its tasks have not ended yet."""
        await asyncio.to_thread(self._api.cancel, wave.execution or "")

    async def stop(self, wave: _AnyWave) -> None:
        """Cancel a wave's execution, also one whose start has not been answered; raises nothing."""
        try:
            looks = _LOOKS_FOR_LOST_SUBMIT if wave.is_unanswered else 1
            wave.execution = wave.execution or await self._find(wave, looks)
            if wave.execution is not None:
                await self.cancel(wave)
                self._log.info("stopped %s", wave.execution)
        except CloudError as error:
            self._log.error(
                "wave %s may be running, and costs until it ends: %s: %s",
                wave.wave_id,
                self._by_hand(wave),
                error,
            )

    def _by_hand(self, wave: _AnyWave) -> str:
        """How a person stops what was not stopped here, or finds it where its name is not known."""
        place = f"--region {self._fleet.region} --project {self._fleet.project_id}"
        if wave.execution is not None:
            name = wave.execution.rpartition("/")[2]
            return f"stop it with `gcloud run jobs executions cancel {name} {place}`"
        job = self._fleet.jobs[wave.size].name
        return (
            f"look for it, by its argument {self._uri(wave)}, with `gcloud run jobs executions "
            f"list --job {job} {place}`, and stop it with `gcloud run jobs executions cancel NAME "
            f"{place}`"
        )
