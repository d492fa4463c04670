"""SegmentDispatcher: starts waves of the segments that wait, and follows them to their end.

The loop of SegmentWaves calls it, and nobody else: it is one thread's.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from povstorm_client.cloud_run.api import CloudRunApi, TaskState
from povstorm_client.cloud_run.cost import billed_usd
from povstorm_client.cloud_run.fleet import CloudRunFleet
from povstorm_client.cloud_run.stored_plan import add_to_plan, reserve
from povstorm_client.cloud_run.wave_plan import WavePlan
from povstorm_client.cloud_run.wave_share import write_wave
from povstorm_client.errors import CloudError, VideoError
from povstorm_client.quantities import duration, usd
from povstorm_client.run_logger import RunLogger
from povstorm_client.storage import layout
from povstorm_client.storage.protocol import Storage
from render_image.video.segments import Encoding
from tasks.video.cloud_run.segment_planner import Place, SegmentPlanner
from tasks.video.cloud_run.segment_queue import SegmentQueue
from tasks.video.cloud_run.segment_wave import (
    SegmentWave,
    WaitingSegment,
    read_left_wave,
    shares_of,
)
from tasks.waves.executions import ExecutionPace, Executions, waits_to_begin


@dataclass(frozen=True, kw_only=True)
class SegmentPace(ExecutionPace):
    """In seconds; worth: what is encoded here in this time is not worth starting containers for.

    A wave is given up that is at work for longer than it should be by late_factor, and late; and
    one of which no task begins within park_limit, once the video waits for nothing else.
    """

    poll: float = 1.0
    park_first: float = 2.0
    park_most: float = 20.0
    park_limit: float = 120.0
    unbegun: float = 60.0
    finish: float = 10.0
    worth: float = 15.0
    late: float = 300.0
    late_factor: float = 10.0


class SegmentDispatcher:
    """api is called once, by another thread, for a video that is worth it.

    retries: how often a lost segment is tried again. logger is told what is not encoded there, and
    tell what the video waits for, in a line, "" for nothing any more.
    """

    def __init__(
        self,
        queue: SegmentQueue,
        storage: Storage,
        job_id: str,
        fleet: CloudRunFleet,
        encoding: Encoding,
        api: Callable[[], CloudRunApi],
        logger: RunLogger,
        tell: Callable[[str], None],
        *,
        retries: int,
        pace: SegmentPace,
    ) -> None:
        self._queue = queue
        self._storage = storage
        self._job_id = job_id
        self._fleet = fleet
        self._encoding = encoding
        self._open_api = api
        self._log = logger
        self._tell_people = tell
        self._told = ""
        # Since when the video waits for segments alone, on the event loop's clock.
        self._alone: float | None = None
        self._attempts = retries + 1
        self._pace = pace
        self._planner = SegmentPlanner(
            fleet, encoding.ending, queue.segments, pace.worth, encoding.options
        )
        self._pixels = 0
        self._executions: Executions | None = None
        self._waves: list[SegmentWave] = []
        self._run_id = secrets.token_hex(4)
        self._numbers = itertools.count(1)

    @property
    def is_idle(self) -> bool:
        """Whether no wave is on its way."""
        return not self._waves

    def waiting(self) -> list[WaitingSegment]:
        """The segments in waves that have no result yet."""
        return [segment for wave in self._waves for segment in wave.waiting.values()]

    async def start_due(self) -> None:
        """Start waves of what has gathered, once there is enough or nothing more to come."""
        is_all = self._queue.is_stopped
        due = self._queue.pending()
        if self._place(due, is_all=is_all) == "nowhere yet":
            return
        due = [segment for segment in due if not self._queue.find(segment)]
        place = self._place(due, is_all=is_all)
        if place == "here":
            self._give_up(due, VideoError("that is soon done"))
        if place != "containers":
            return
        executions = await self._opened()
        left = {segment.name for segment in self.waiting()}
        due = [segment for segment in due if segment.name not in left]
        pixels = self._pixels_of(due)
        for size, segments in self._planner.by_size(due, pixels).items():
            plan = self._planner.plan(segments, pixels, size)
            await self._start_wave(executions, segments, plan, size)

    def _place(self, segments: Sequence[WaitingSegment], *, is_all: bool) -> Place:
        return self._planner.place(segments, self._pixels_of(segments), is_all=is_all)

    def _pixels_of(self, segments: Sequence[WaitingSegment]) -> int:
        """Of each image of the video; one is read for it, once."""
        if self._pixels == 0 and segments:
            self._pixels = segments[0].pixels()
        return self._pixels

    async def _opened(self) -> Executions:
        """Takes over, at first, what an earlier run of the job has left running."""
        if self._executions is None:
            waves_uri = f"{self._storage.uri}/{layout.wave(self._job_id, '')}"
            api = await asyncio.to_thread(self._open_api)
            self._executions = Executions(api, self._fleet, waves_uri, self._pace, self._log)
            self._waves += await self._executions.left_running(
                layout.is_segment_wave,
                lambda wave_id, size: read_left_wave(
                    self._storage, self._job_id, self._encoding, wave_id, size
                ),
            )
            self._queue.take(self.waiting())
        return self._executions

    async def _start_wave(
        self, executions: Executions, segments: list[WaitingSegment], plan: WavePlan, size: int
    ) -> None:
        wave_id = f"v{next(self._numbers):04d}-{self._run_id}"
        shares = [segments[task :: plan.tasks] for task in range(plan.tasks)]
        wave = SegmentWave(
            wave_id,
            layout.wave(self._job_id, wave_id),
            [[segment.name for segment in share] for share in shares],
            size,
            submitted=time.time(),
            launched=asyncio.get_running_loop().time(),
            plan=plan,
            waiting={segment.name: replace(segment, size=size) for segment in segments},
        )
        record, most = wave.record(), self._fleet.max_usd
        assert record is not None, "it has a plan"  # noqa: S101 - a mistake of ours
        # Before it costs anything: whoever starts another wave, or goes on with the job, counts it.
        spent = reserve(self._storage, self._job_id, record, most)
        if spent is not None:
            words = f"containers for them would cost {usd(plan.usd)}, after {usd(spent)}"
            self._give_up(segments, CloudError(f"{words}, and the most is ${most:g}", "refused"))
            return
        write_wave(self._storage, wave.prefix, shares_of(shares, self._encoding))
        self._queue.take(segments)
        self._waves.append(wave)
        try:
            await self._started(executions, wave)
        except CloudError as error:
            self._waves.remove(wave)
            wave.billed_usd = 0.0
            self._write_down(wave)
            self._give_up(segments, error)
        else:
            self._log.info("wave %s: %d segments of the video, %s", wave_id, len(segments), plan)

    async def _started(self, executions: Executions, wave: SegmentWave) -> None:
        """Start it, and say meanwhile what is waited for; CloudError."""
        starting = asyncio.create_task(executions.start(wave))
        try:
            while not starting.done():
                await asyncio.wait({starting}, timeout=self._pace.poll)
                self._tell()
            await starting
        finally:
            starting.cancel()
            await asyncio.wait({starting})

    def _tell(self) -> None:
        """Say what the video waits for once all of its frames are there, if it is another thing."""
        waits = (wave.waits_for for wave in self._waves if wave.waits_for)
        line = next(waits, "") if self._queue.is_stopped else ""
        if line != self._told:
            self._told = line
            self._tell_people(line)

    def _write_down(self, wave: SegmentWave) -> None:
        record = wave.record()
        if record is not None:
            add_to_plan(self._storage, self._job_id, [record])

    async def look(self) -> None:
        """Take in what was stored since the last look, and do what the waves' states ask for."""
        if self._executions is None or not self._waves:
            self._tell()
            return
        now = asyncio.get_running_loop().time()
        if self._alone is None and self._queue.is_stopped:
            self._alone = now
        for wave in self._waves:
            wave.state = await self._executions.look(wave)
            if wave.begun is None and wave.state.has_begun:
                wave.begun, wave.waits_for = asyncio.get_running_loop().time(), ""
            elif wave.begun is None and now - wave.launched >= self._pace.unbegun:
                wave.waits_for = waits_to_begin(wave, self._pace)
        # Listed after the states: what a task stored before it ended is in it.
        segments = layout.segments(self._job_id)
        there = {entry.key for entry in self._storage.list(segments)}
        for wave in list(self._waves):
            for name, segment in list(wave.waiting.items()):
                key = layout.segment_record(segments, name)
                if key in there and self._queue.find(segment):
                    del wave.waiting[name]
            await self._follow(self._executions, wave)
        self._tell()

    async def _follow(self, executions: Executions, wave: SegmentWave) -> None:
        """Do what a wave's state asks for."""
        now, expected = asyncio.get_running_loop().time(), wave.plan.seconds if wave.plan else 0.0
        if wave.state is not None and wave.state.completed is not None:
            states = await executions.tasks(wave)
            self._waves.remove(wave)
            self._settle(wave, states)
        elif not wave.waiting:
            # What it took is known when it has ended.
            wave.stored = wave.stored or now
            if now - wave.stored > self._pace.finish:
                self._waves.remove(wave)
        # While Google has no room for a task, nothing is late, and nothing is billed.
        elif wave.begun is not None:
            if now - wave.begun > self._late(expected):
                await executions.cancel(wave)
        elif self._has_waited(wave, now) > self._pace.park_limit:
            await self._give_up_waiting(executions, wave)

    def _has_waited(self, wave: SegmentWave, now: float) -> float:
        """The seconds for which the video has waited for this wave and nothing else."""
        return 0.0 if self._alone is None else now - max(wave.launched, self._alone)

    async def _give_up_waiting(self, executions: Executions, wave: SegmentWave) -> None:
        """Encode here what Google has no room for, now that nothing else is waited for."""
        await executions.cancel(wave)
        self._waves.remove(wave)
        wave.billed_usd = 0.0
        self._write_down(wave)
        waited = duration(self._pace.park_limit)
        words = f"Google Cloud has begun none of {wave.tasks} tasks for {waited}"
        self._give_up(list(wave.waiting.values()), CloudError(words, "room"))

    def _late(self, expected: float) -> float:
        """The seconds after which a wave that should take so many is given up."""
        return self._pace.late + self._pace.late_factor * expected

    def _settle(self, wave: SegmentWave, states: Sequence[TaskState]) -> None:
        """Try again what an ended wave has lost, with more memory if that was the reason."""
        if wave.plan is not None:
            wave.billed_usd = billed_usd(states, wave.plan.job)
            self._write_down(wave)
        tasks = {task.index: task for task in states}
        again, lost = [], []
        for name, segment in wave.waiting.items():
            task = tasks.get(wave.task_of(name))
            size = segment.size + (task is not None and task.out_of_memory)
            if segment.attempt < self._attempts and size < len(self._fleet.jobs):
                again.append(replace(segment, attempt=segment.attempt + 1, size=size))
            else:
                lost.append(segment)
        self._queue.again(again)
        self._give_up(lost, VideoError(f"their containers were lost in {wave.execution}"))
        if again:
            self._log.warning("%d segments of the video were lost, and are tried again", len(again))

    async def stop(self) -> None:
        """Stop what nobody waits for any more."""
        if self._executions is not None:
            for wave in self._waves:
                await self._executions.stop(wave)

    def _give_up(self, segments: Sequence[WaitingSegment], error: Exception) -> None:
        """Leave segments to encode_video."""
        tell_given_up(len(segments), error, self._log)
        self._queue.give_up(segments, error)


def tell_given_up(segments: int, error: Exception, logger: RunLogger) -> None:
    """Log that so many segments are left to encode_video, if any are, and why."""
    if segments:
        logger.info("%d segments of the video are encoded here: %s", segments, error)
