"""Dispatcher: the loop that starts waves of the frames that wait, and follows them to their end.

CloudRunRenderer begins and ends it. An error in the loop is the error of every frame.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence

from povstorm_client.cloud_run.cost import billed_usd
from povstorm_client.cloud_run.stored_plan import add_to_plan, reserve, spent_usd
from povstorm_client.cloud_run.wave_share import write_wave
from povstorm_client.errors import CloudError, PovstormError
from povstorm_client.quantities import duration
from povstorm_client.storage import layout
from tasks.renderers.cloud_run.frame_wave import (
    FrameWave,
    WaitingFrame,
    lost_frames,
    read_left_wave,
)
from tasks.renderers.cloud_run.gathering import Gathering
from tasks.renderers.cloud_run.outcomes import Outcomes
from tasks.renderers.cloud_run.wave_board import WaveBoard
from tasks.renderers.cloud_run.wave_planner import WavePlanner
from tasks.renderers.cloud_run.wave_sample import WaveSample
from tasks.renderers.cloud_run.wave_setting import WaveSetting
from tasks.renderers.cloud_run.wave_starts import WaveStarts
from tasks.waves.bucket_access import BucketAccess
from tasks.waves.cancel_note import is_cancelled
from tasks.waves.executions import Executions, waits_to_begin


class Dispatcher:
    """gathering: the frames that are to come, and those that are in no wave yet.

    known: versions of results that are no news, as Outcomes has it.
    """

    def __init__(
        self,
        setting: WaveSetting,
        executions: Executions,
        planner: WavePlanner,
        known: Mapping[str, tuple[float, int]] | None,
    ) -> None:
        self._setting = setting
        self._executions = executions
        self._planner = planner
        self._board = WaveBoard()
        self.gathering = Gathering(setting.pace)
        sample = WaveSample(planner, self._board, setting.pace)
        self._starts = WaveStarts(setting.job_id, self.gathering, sample, planner, self._board)
        self._access = BucketAccess(setting.pace.grants)
        self._outcomes = Outcomes(
            setting, planner, self._board, sample, self.gathering, self._access, known
        )
        self._launches: dict[asyncio.Task[None], FrameWave] = {}
        self._loop: asyncio.Task[None] | None = None
        self._fatal: Exception | None = None
        self._woken = asyncio.Event()
        self._told = ""
        self._image = ""

    async def begin(self, image: str) -> None:
        """Take over what an earlier run of the job has left running, and start the loop.

        image: the container's, which executions that are started run.
        """
        self._image = image
        await self._outcomes.note_what_is_there()
        storage, job_id = self._setting.storage, self._setting.job_id
        self._board.running += await self._executions.left_running(
            lambda wave_id: not layout.is_segment_wave(wave_id),
            lambda wave_id, size: read_left_wave(storage, job_id, wave_id, size),
        )
        self._loop = asyncio.create_task(self._run())

    async def end(self, *, orderly: bool) -> None:
        """End the loop, and stop executions with frames that nobody waits for any more."""
        loop = [self._loop] if self._loop is not None else []
        for task in [*loop, *self._launches]:
            task.cancel()
        await asyncio.gather(*loop, *self._launches, return_exceptions=True)
        if self._told:
            # A frame that began and ended between two looks waits no more either.
            self._told = ""
            self._setting.tell("")
        if orderly and self._fatal is None:
            await self._let_containers_end()
        await asyncio.gather(*(self._executions.stop(wave) for wave in self._board.running))
        await self._write_plan()

    def add(self, frame: WaitingFrame) -> None:
        """Let a frame wait for a wave, or for the one of an earlier run that renders it already.

        Raises the error by which the loop has ended, if it has.
        """
        if self._fatal is not None:
            raise self._fatal
        wave = self._board.taken_over(frame.unit.work_unit_id)
        if wave is None:
            self.gathering.arrived(frame)
        else:
            wave.waiting[frame.unit.work_unit_id] = frame

    def add_all(self, frames: Sequence[WaitingFrame]) -> None:
        """The same for all frames of a job at once: those that wait form a wave without delay."""
        if self._fatal is not None:
            raise self._fatal
        left = self._board.taken_over_units()
        for frame in frames:
            if (wave := left.get(frame.unit.work_unit_id)) is not None:
                wave.waiting[frame.unit.work_unit_id] = frame
        self.gathering.all_arrived(frame for frame in frames if frame.unit.work_unit_id not in left)
        self._woken.set()

    async def _run(self) -> None:
        """Start waves and collect results until cancelled; an error is every frame's error."""
        pace = self._setting.pace
        try:
            while True:
                idle = not self._board.running
                await self._sleep(pace.gather_quiet / 2 if idle else pace.poll)
                self._look_at_launches()
                await self._start_waves()
                if any(wave.execution for wave in self._board.running):
                    await self._poll()
                if not self._board.running:
                    self._access.check()
                self._tell()
        except Exception as error:
            self._fatal = error
            waiting = [frame for _, frame in self._board.waiting()]
            _fail([*self.gathering.pending.values(), *waiting], error)
            if not isinstance(error, PovstormError):
                self._setting.log.exception("the dispatcher of the waves has failed")

    async def _sleep(self, seconds: float) -> None:
        """Wait so long, or until frames have come together."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._woken.wait(), seconds)
        self._woken.clear()

    def _look_at_launches(self) -> None:
        """What went wrong with a wave's start is its frames' error; a refusal is that of all."""
        for launch in [each for each in self._launches if each.done()]:
            wave = self._launches.pop(launch)
            error = launch.exception()
            if isinstance(error, CloudError):
                raise error
            if error is not None:
                self._board.running.remove(wave)
                _fail(list(wave.waiting.values()), error)
                # If it was the sample, nobody waits for it.
                wave.waiting.clear()

    async def _start_waves(self) -> None:
        loop = asyncio.get_running_loop()
        if self._access.holds_back(loop.time()) or not self._starts.are_due(loop.time()):
            return
        if await self._is_to_stop():
            return
        await self._count_what_others_cost()
        for wave in self._starts.next_waves(loop.time()):
            self._begin_launch(wave)

    def _begin_launch(self, wave: FrameWave) -> None:
        self._launches[asyncio.create_task(self._launch(wave))] = wave
        self._setting.log.info("wave %s: %s", wave.wave_id, wave.plan)

    async def _launch(self, wave: FrameWave) -> None:
        await self._outcomes.clear_earlier_attempts(wave)
        if wave.waiting:
            await self._reserve(wave)
            await self._store(wave)
            await self._start(wave)
        else:
            self._board.running.remove(wave)

    async def _store(self, wave: FrameWave) -> None:
        shares = wave.waiting_shares(self._setting.settings, self._image)
        await asyncio.to_thread(write_wave, self._setting.storage, wave.prefix, shares)

    async def _reserve(self, wave: FrameWave) -> None:
        """Write it down; CloudError if it would cost too much, by what others have started since.

        Whoever goes on with the job, if this run is killed now, counts it.
        """
        record, setting = wave.record(), self._setting
        assert wave.plan is not None and record is not None, "it is ours"  # noqa: S101
        spent = await asyncio.to_thread(
            reserve,
            setting.storage,
            setting.job_id,
            record,
            setting.fleet.max_usd,
            prefer=setting.fleet.prefer,
            seconds_per_frame=self._planner.cpu_seconds,
        )
        if spent is not None:
            wave.billed_usd = 0.0
            self._planner.check_budget(wave.plan, spent)

    async def _start(self, wave: FrameWave) -> None:
        clock = asyncio.get_running_loop().time
        began = clock()
        while wave.execution is None:
            try:
                await self._executions.start(wave, lambda: self._make_smaller(wave))
            except CloudError as error:
                if error.kind == "refused":
                    raise
                if self._board.others_are_at_work(wave):
                    continue  # the room that it waits for may be theirs
                raise CloudError(
                    f"not started for {duration(clock() - began)}: {error}: look at the quota with "
                    "`povstorm doctor`, and run the job again later",
                    "refused",
                ) from error

    async def _make_smaller(self, wave: FrameWave) -> bool:
        """Have half of a wave's tasks wait for room as a wave of their own, if that can help."""
        if not wave.can_be_split(self._board.running):
            return False
        rest = self._starts.split(wave)
        await self._store(wave)
        await self._write_plan()
        self._begin_launch(rest)
        return True

    async def _count_what_others_cost(self) -> None:
        """What earlier runs of the job, and its video, cost is part of what it may cost."""
        setting, board = self._setting, self._board
        if setting.fleet.max_usd is not None:
            board.others_usd = await asyncio.to_thread(
                spent_usd, setting.storage, setting.job_id, without=board.own_ids()
            )

    async def _is_to_stop(self) -> bool:
        return await is_cancelled(self._setting.storage, self._setting.job_id)

    async def _poll(self) -> None:
        """Take in new results, then what became of executions and of the frames they lost."""
        waves = [wave for wave in self._board.running if wave.execution is not None]
        for wave in waves:
            wave.state = await self._executions.look(wave)
            self._note_begin(wave)
        # Listed after the states: what a task stored before it ended is in it.
        await self._outcomes.collect()
        for wave in waves:
            state = wave.state
            if state is None:
                continue
            lost = state.failed + state.cancelled
            if state.completed is not None or lost > wave.lost_tasks:
                if wave.waiting and await self._is_to_stop():
                    continue
                wave.lost_tasks = lost
                await self._settle(wave, is_over=state.completed is not None)
            if state.completed is not None:
                self._board.end(wave)
                await self._write_plan()

    def _note_begin(self, wave: FrameWave) -> None:
        """Take note of a wave's first task at work, or of that none is, though it was started.

        Raises CloudError if none is for longer than room is waited for, and nothing else is either.
        """
        now, pace = asyncio.get_running_loop().time(), self._setting.pace
        if wave.begun is not None:
            return
        if wave.state is not None and wave.state.has_begun:
            wave.begun, wave.waits_for = now, ""
        elif (waited := now - wave.launched) >= pace.park_limit and not self._board.any_has_begun():
            raise CloudError(
                f"Google Cloud has begun none of {wave.tasks} tasks for {duration(waited)}: look "
                "at the quota with `povstorm doctor`, and run the job again later",
                "refused",
            )
        elif waited >= pace.unbegun:
            wave.waits_for = waits_to_begin(wave, pace)

    def _tell(self) -> None:
        """Say what frames wait for, each time that this is something else."""
        waits = (wave.waits_for for wave in self._board.running if wave.waits_for)
        line = next(waits, "") or self._access.waits_for(asyncio.get_running_loop().time())
        if line != self._told:
            self._told = line
            self._setting.tell(line)

    async def _settle(self, wave: FrameWave, *, is_over: bool) -> None:
        """Fail the frames whose task has ended without storing a result for them."""
        states = await self._executions.tasks(wave)
        # Again: a task may have stored its last frames since the results were listed, and ended.
        await self._outcomes.collect()
        tasks = {state.index: state for state in states}
        ended = {state.index for state in states if state.has_ended}
        if is_over:
            ended.update(range(wave.tasks))
        storage, waiting = self._setting.storage, set(wave.waiting)
        lost = await asyncio.to_thread(lost_frames, storage, wave, ended, waiting)
        for index, unit_ids in lost.items():
            frames = [wave.waiting[unit_id] for unit_id in unit_ids if unit_id in wave.waiting]
            for frame in frames:
                alone = len(frames) == 1
                await self._outcomes.lose(wave, frame, tasks.get(index), index, alone=alone)
        if is_over and wave.plan is not None:
            wave.billed_usd = billed_usd(states, wave.plan.job)

    async def _let_containers_end(self) -> None:
        """Wait, for a while, for containers that have stored all their frames."""
        loop = asyncio.get_running_loop()
        pace = self._setting.pace
        deadline = loop.time() + pace.finish
        try:
            while any(not wave.waiting for wave in self._board.running) and loop.time() < deadline:
                await self._poll()
                await asyncio.sleep(pace.poll / 2)
        except CloudError as error:
            self._setting.log.warning("the end of the containers was not seen: %s", error)

    async def _write_plan(self) -> None:
        records = [wave.record() for wave in [*self._board.ended, *self._board.running]]
        waves = tuple(record for record in records if record is not None)
        if waves:
            setting, known = self._setting, self._planner.cpu_seconds
            await asyncio.to_thread(
                add_to_plan,
                setting.storage,
                setting.job_id,
                waves,
                prefer=setting.fleet.prefer,
                seconds_per_frame=known,
            )


def _fail(frames: list[WaitingFrame], error: BaseException) -> None:
    for frame in frames:
        if not frame.result.done():
            frame.result.set_exception(error)
            # Nobody may ever ask for it, and then it is no unheard exception.
            frame.result.exception()
