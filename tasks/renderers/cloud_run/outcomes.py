"""Outcomes: what became of the frames of waves, from their stored results and lost containers.

The dispatcher asks it; it alone reads and stores FrameResults for the waves.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from povstorm_client.cloud_run.api import TaskState
from povstorm_client.errors import RecordError, RenderError, StorageError
from povstorm_client.frames.result import FrameResult
from povstorm_client.frames.work_unit import WorkUnit
from povstorm_client.jobs.frame_results import FrameResults
from povstorm_client.storage.parallel import in_parallel
from render_image.unexpected import unexpected_failure
from tasks.renderers.cloud_run.frame_wave import FrameWave, WaitingFrame
from tasks.renderers.cloud_run.gathering import Gathering
from tasks.renderers.cloud_run.wave_board import WaveBoard
from tasks.renderers.cloud_run.wave_planner import WavePlanner
from tasks.renderers.cloud_run.wave_sample import WaveSample
from tasks.renderers.cloud_run.wave_setting import WaveSetting
from tasks.waves.bucket_access import BucketAccess
from tasks.waves.lost_container import what_happened

# Of a frame that has something in the storage, but no result that was seen.
_NO_RESULT = (0.0, 0)


class Outcomes:
    """Gives the waiting frames their results, and tells planner and sample of them.

    known: StoredObject.version of the results that were there when it was chosen which frames are
    to be rendered, by work unit id. What was stored since is news: by another run of the job, or by
    containers that an earlier one has left. None: what is there at the beginning is none.
    """

    def __init__(
        self,
        setting: WaveSetting,
        planner: WavePlanner,
        board: WaveBoard,
        sample: WaveSample,
        gathering: Gathering,
        access: BucketAccess,
        known: Mapping[str, tuple[float, int]] | None = None,
    ) -> None:
        self._setting = setting
        self._planner = planner
        self._board = board
        self._sample = sample
        self._gathering = gathering
        self._access = access
        self._results = FrameResults(setting.storage, setting.job_id)
        self._known = known
        # Unit id → the version of the result that was read there last.
        self._seen: dict[str, tuple[float, int]] = {}

    async def note_what_is_there(self) -> None:
        """Results of earlier runs are no news, and what those left unfinished is known."""
        begun = await asyncio.to_thread(self._results.begun)
        known = self._known
        if known is None:
            listed = await asyncio.to_thread(self._results.listed)
            known = {unit_id: entry.version for unit_id, entry in listed.items()}
        self._seen = dict.fromkeys(begun, _NO_RESULT) | dict(known)

    async def clear_earlier_attempts(self, wave: FrameWave) -> None:
        """Delete what earlier attempts stored: the container may create objects, not replace them.

        So its account needs no right to delete anything. Frames that another run of the job, or a
        container that was thought lost, has rendered need no further attempt: they get their
        result, and wait no more.
        """
        stale = [frame.unit for unit_id, frame in wave.waiting.items() if unit_id in self._seen]
        clear = self._results.clear_for_another_attempt
        for result in await asyncio.to_thread(lambda: list(in_parallel(clear, stale))):
            if result is not None:
                self._take(wave, wave.waiting[result.work_unit_id], result)

    async def collect(self) -> None:
        """Take in the results that were stored since the last look.

        One that cannot be read now is looked at again.
        """
        waiting = {frame.unit.work_unit_id: (wave, frame) for wave, frame in self._board.waiting()}
        new: list[WorkUnit] = []
        listed = await asyncio.to_thread(self._results.listed_of, waiting)
        for unit_id, entry in listed.items():
            if unit_id not in waiting:
                # A wave that it comes to wait for has its way cleared.
                self._seen.setdefault(unit_id, _NO_RESULT)
            elif self._seen.get(unit_id) != entry.version:
                new.append(waiting[unit_id][1].unit)
        results = await asyncio.to_thread(lambda: list(self._results.new(new, listed)))
        for unit, result in results:
            wave, frame = waiting[unit.work_unit_id]
            if isinstance(result, FrameResult | RecordError):
                self._seen[unit.work_unit_id] = listed[unit.work_unit_id].version
            # A failure of an earlier attempt, such as lose stores, says nothing about this one.
            if isinstance(result, FrameResult) and (
                result.state == "rendered" or result.attempt == frame.attempt
            ):
                try:
                    self._take(wave, frame, result)
                except Exception as error:
                    # Whatever is wrong with it, the other frames' results are fine.
                    self._setting.log.exception(
                        "the result of frame %d cannot be used", frame.unit.frame
                    )
                    wave.waiting.pop(frame.unit.work_unit_id, None)
                    if not frame.result.done():
                        frame.result.set_exception(unexpected_failure(error))
                        frame.result.exception()

    def _take(self, wave: FrameWave, frame: WaitingFrame, result: FrameResult) -> None:
        if (result.job_id, result.work_unit_id) != (self._setting.job_id, frame.unit.work_unit_id):
            raise StorageError(
                f"what is stored of {frame.unit.name} is the result of another frame: delete it"
            )
        wave.waiting.pop(frame.unit.work_unit_id, None)
        self._access.granted()
        self._planner.saw(result)
        self._sample.saw(result)
        if result.out_of_memory:
            # The kernel took POV-Ray and left the container, whose other frames go on.
            (share,) = (share for share in wave.shares if result.work_unit_id in share)
            alone = len(share) == 1
            self._planner.ran_out_of_memory(frame.unit, wave.size, alone=alone)
        resolve(frame, result, retryable=result.state == "retrying")

    async def lose(
        self,
        wave: FrameWave,
        frame: WaitingFrame,
        task: TaskState | None,
        index: int,
        *,
        alone: bool,
    ) -> None:
        """Make a lost container a failure of this frame, stored like any other.

        No frame is given up for want of memory before it had the largest container for itself:
        Cloud Run ends all of a container for the one frame that needs too much, and does not say
        which that was. Until then a last attempt is repeated. So is any whose container the bucket
        has not let in: the frame was not tried.

        task: what Google says of the task with this index, None for nothing. alone: whether this
        was the only frame left in it.
        """
        unit = frame.unit
        wave.waiting.pop(unit.work_unit_id)
        if frame.result.done():
            return
        if task is not None and task.not_let_in:
            self._planner.not_let_in()
            self._access.refused(wave.launched, asyncio.get_running_loop().time())
            self._repeat(frame)
            return
        out_of_memory = task is not None and task.out_of_memory
        self._planner.lost(unit, by_memory=out_of_memory)
        retryable = True
        if out_of_memory:
            retryable = self._planner.ran_out_of_memory(unit, wave.size, alone=alone)
            if retryable and frame.final_attempt:
                self._repeat(frame)
                return
        memory = self._setting.fleet.jobs[wave.size].memory_mib
        result = lost_result(
            wave, frame, task, index, memory_mib=memory, retryable=retryable, now=time.time()
        )
        stored = await asyncio.to_thread(self._results.fail, result)
        if stored.state != "rendered":
            self._sample.saw(result)
        # The next wave may start before this is listed, and its container can replace nothing that
        # the lost one has left: neither this, nor a log or an image without a result.
        self._seen.setdefault(unit.work_unit_id, _NO_RESULT)
        resolve(frame, stored if stored.state == "rendered" else result, retryable=retryable)

    def _repeat(self, frame: WaitingFrame) -> None:
        """Let it wait for another wave, whose container can replace nothing of this one's."""
        self._seen.setdefault(frame.unit.work_unit_id, _NO_RESULT)
        frame.since = asyncio.get_running_loop().time()
        self._gathering.arrived(frame)


def resolve(frame: WaitingFrame, result: FrameResult, *, retryable: bool) -> None:
    """End the wait for a frame, by its result or as RenderError, if anybody still waits."""
    if frame.result.done():
        return
    if result.state == "rendered":
        frame.result.set_result(result)
    else:
        frame.result.set_exception(
            RenderError(
                f"frame {frame.unit.frame}: {result.error}",
                retryable=retryable,
                log_tail=result.log_tail,
            )
        )
        # Nobody may ever ask for it, and then it is no unheard exception.
        frame.result.exception()


def lost_result(
    wave: FrameWave,
    frame: WaitingFrame,
    task: TaskState | None,
    index: int,
    *,
    memory_mib: int,
    retryable: bool,
    now: float,
) -> FrameResult:
    """The FrameResult of a frame whose container, the task with this index, stored none.

    memory_mib: what the container had. now: Unix seconds, for a task without an end.
    """
    host = wave.host(index)
    error = f"its container {host} {what_happened(task, memory_mib)}"
    if not retryable:
        error += ": give terraform's render_jobs one with more memory"
    return FrameResult(
        work_unit_id=frame.unit.work_unit_id,
        job_id=frame.unit.job_id,
        frame=frame.unit.frame,
        state="retrying" if retryable and not frame.final_attempt else "failed",
        attempt=frame.attempt,
        host=host,
        started=(task.started if task else None) or wave.submitted,
        ended=(task.completed if task else None) or now,
        error=error,
        lost_container=True,
    )
