"""SegmentWaves: a video's segments encoded by Cloud Run tasks as soon as their frames are there.

It is told of each frame that is final, as SegmentsAhead is where this machine renders. What Cloud
Run does not give in the end, encode_video does here; both give the same bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from povstorm_client.cloud_run.api import CloudRunApi, TaskState
from povstorm_client.cloud_run.cost import billed_usd
from povstorm_client.cloud_run.fleet import CloudRunFleet
from povstorm_client.cloud_run.stored_plan import add_to_plan, reserve
from povstorm_client.cloud_run.wave_plan import WavePlan
from povstorm_client.cloud_run.wave_share import write_wave
from povstorm_client.errors import CloudError, PovstormError, VideoError
from povstorm_client.run_logger import RunLogger
from povstorm_client.storage import layout
from povstorm_client.storage.protocol import Storage
from render_image.video.segments import Encoding, FrameImage
from render_image.video.stored_segments import SegmentStore
from tasks.video.cloud_run.segment_planner import SegmentPlanner
from tasks.video.cloud_run.segment_queue import SegmentQueue
from tasks.video.cloud_run.segment_wave import (
    SegmentWave,
    WaitingSegment,
    read_left_wave,
    shares_of,
)
from tasks.video.encode import ReadySegments
from tasks.waves.executions import ExecutionPace, Executions

# A wave that takes longer than it should by this factor, and these seconds, is given up.
_LATE_FACTOR, _LATE_SECONDS = 10.0, 300.0


@dataclass(frozen=True, kw_only=True)
class SegmentPace(ExecutionPace):
    """In seconds; worth: what is encoded here in this time is not worth starting containers for."""

    poll: float = 1.0
    park_first: float = 2.0
    park_most: float = 20.0
    park_limit: float = 120.0
    finish: float = 10.0
    worth: float = 15.0


class SegmentWaves:
    """One job's segments: a thread, with a loop of its own, that begins and follows their waves.

    Its methods may be called by any thread. frames: all that the video is meant to have, ascending.
    api is called once, by another thread, for a video that is worth it. retries: how often a lost
    segment is tried again. logger is told what is not encoded there.
    """

    def __init__(
        self,
        frames: Sequence[int],
        storage: Storage,
        job_id: str,
        fleet: CloudRunFleet,
        encoding: Encoding,
        api: Callable[[], CloudRunApi],
        logger: RunLogger,
        *,
        retries: int,
        pace: SegmentPace | None = None,
    ) -> None:
        self._storage = storage
        self._job_id = job_id
        self._fleet = fleet
        self._encoding = encoding
        self._open_api = api
        self._log = logger
        self._attempts = retries + 1
        self._pace = pace or SegmentPace()
        self._store = SegmentStore(storage, layout.segments(job_id))
        self._queue = SegmentQueue(frames, self._store, encoding)
        self._planner = SegmentPlanner(
            fleet, encoding.ending, self._queue.segments, self._pace.worth, encoding.options
        )
        self._executions: Executions | None = None
        self._waves: list[SegmentWave] = []
        self._run_id = secrets.token_hex(4)
        self._numbers = itertools.count(1)
        self._cancelled = False
        self._woken = asyncio.Event()
        self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self._loop = self._runner.get_loop()
        # In this context, as which its log is the caller's.
        self._work = self._loop.create_task(self._run())
        self._thread = threading.Thread(target=self._run_loop, name="povstorm-segments")
        self._thread.start()

    def frame_is_final(self, frame: int, image: FrameImage | None) -> None:
        """Take this for the frame's image, for good; None: it has none, since it failed."""
        self._queue.frame_is_final(frame, image)

    def stop(self) -> ReadySegments:
        """No further frame is told of; returns the segments that are encoded, or will be."""
        ready = self._queue.stop()
        self._tell(self._woken.set)
        return ready

    def cancel(self) -> None:
        """Have it end, and what it has started; does not wait for that.

        Containers that have stored all are left to end by themselves, for some seconds.
        """
        if self._queue.is_done:
            self._tell(self._woken.set)
        elif not self._cancelled:
            self._cancelled = True
            self._tell(self._work.cancel)

    def close(self) -> None:
        """Cancel, and wait for it; what is encoded stays, for whoever makes the video."""
        self.cancel()
        self._thread.join()

    def _tell(self, call: Callable[[], object]) -> None:
        with contextlib.suppress(RuntimeError):  # its loop has ended
            self._loop.call_soon_threadsafe(call)

    def _run_loop(self) -> None:
        with self._runner:
            self._loop.run_until_complete(self._work)

    async def _run(self) -> None:
        try:
            while not self._queue.is_stopped or self._queue.pending() or self._waves:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._pace.poll):
                        await self._woken.wait()
                self._woken.clear()
                await self._start()
                await self._look()
        except asyncio.CancelledError:
            await self._stop_waves()
            self._queue.end(self._all_waiting(), VideoError("it was cancelled"))
        except Exception as error:
            if not isinstance(error, PovstormError):
                self._log.exception("the segments of the video are not encoded on Cloud Run")
            left = self._queue.end(self._all_waiting(), error)
            self._tell_given_up(left, error)

    def _all_waiting(self) -> list[WaitingSegment]:
        return [segment for wave in self._waves for segment in wave.waiting.values()]

    def _give_up(self, segments: Sequence[WaitingSegment], error: Exception) -> None:
        """Leave segments to encode_video."""
        self._tell_given_up(len(segments), error)
        self._queue.give_up(segments, error)

    def _tell_given_up(self, segments: int, error: Exception) -> None:
        if segments:
            self._log.info("%d segments of the video are encoded here: %s", segments, error)

    async def _start(self) -> None:
        """Start waves of what has gathered, once there is enough or nothing more to come."""
        is_all = self._queue.is_stopped
        due = self._queue.pending()
        if not self._planner.is_enough(due, is_all=is_all):
            return
        due = [segment for segment in due if not self._queue.find(segment)]
        if not due:
            return
        pixels = due[0].pixels()
        if not self._planner.is_worth_it(due, pixels):
            self._give_up(due, VideoError("that is soon done"))
            return
        executions = await self._opened()
        left = {segment.name for segment in self._all_waiting()}
        due = [segment for segment in due if segment.name not in left]
        for size, segments in self._planner.by_size(due, pixels).items():
            plan = self._planner.plan(segments, pixels, size)
            await self._start_wave(executions, segments, plan, size)

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
            self._queue.take(self._all_waiting())
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
            launched=self._loop.time(),
            plan=plan,
            waiting={segment.name: replace(segment, size=size) for segment in segments},
        )
        record, most = wave.record(), self._fleet.max_usd
        assert record is not None, "it has a plan"  # noqa: S101 - a mistake of ours
        # Before it costs anything: whoever starts another wave, or goes on with the job, counts it.
        spent = reserve(self._storage, self._job_id, record, most)
        if spent is not None:
            words = f"containers for them would cost ${plan.usd:.3f}, after ${spent:.3f}"
            self._give_up(segments, CloudError(f"{words}, and the most is ${most:g}", "refused"))
            return
        write_wave(self._storage, wave.prefix, shares_of(shares, self._encoding))
        self._queue.take(segments)
        self._waves.append(wave)
        try:
            await executions.start(wave)
        except CloudError as error:
            self._waves.remove(wave)
            wave.billed_usd = 0.0
            self._write_down(wave)
            self._give_up(segments, error)
        else:
            self._log.info("wave %s: %d segments of the video, %s", wave_id, len(segments), plan)

    def _write_down(self, wave: SegmentWave) -> None:
        record = wave.record()
        if record is not None:
            add_to_plan(self._storage, self._job_id, [record])

    async def _look(self) -> None:
        if self._executions is None or not self._waves:
            return
        for wave in self._waves:
            wave.state = await self._executions.look(wave)
        # Listed after the states: what a task stored before it ended is in it.
        there = {entry.key for entry in self._storage.list(self._store.prefix)}
        for wave in list(self._waves):
            for name, segment in list(wave.waiting.items()):
                key = layout.segment_record(self._store.prefix, name)
                if key in there and self._queue.find(segment):
                    del wave.waiting[name]
            await self._follow(self._executions, wave)

    async def _follow(self, executions: Executions, wave: SegmentWave) -> None:
        """Do what a wave's state asks for."""
        now, expected = self._loop.time(), wave.plan.seconds if wave.plan else 0.0
        if wave.state is not None and wave.state.completed is not None:
            states = await executions.tasks(wave)
            self._waves.remove(wave)
            self._settle(wave, states)
        elif not wave.waiting:
            # What it took is known when it has ended.
            wave.stored = wave.stored or now
            if now - wave.stored > self._pace.finish:
                self._waves.remove(wave)
        elif now - wave.launched > _LATE_SECONDS + _LATE_FACTOR * expected:
            await executions.cancel(wave)

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

    async def _stop_waves(self) -> None:
        """Stop what nobody waits for any more."""
        if self._executions is not None:
            for wave in self._waves:
                await self._executions.stop(wave)
