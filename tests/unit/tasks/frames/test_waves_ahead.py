"""Frames are in work together before their task runs ask for them, which follow a few at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence

import pytest

from povstorm_client import RenderError, RenderSettings, WorkUnit
from povstorm_client.frames.result import FrameResult
from tasks.frames.job_progress import JobProgress
from tasks.frames.waves_ahead import WavesAhead

SETTINGS = RenderSettings("scene.pov", final_frame=100)
UNITS = [WorkUnit(SETTINGS, frame=frame) for frame in range(1, 101)]
FIRST, SECOND, THIRD, FOURTH, *_ = UNITS


class Waves:
    """What WavesAhead asks of CloudRunRenderer; frames end when the test says so."""

    version = "image"

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.outcomes: dict[int, asyncio.Future[FrameResult]] = {}
        self.final = False
        self.opened = 0
        self.closed: list[bool] = []
        self.expected: list[int] = []
        self.again: list[tuple[int, int]] = []

    async def open(self) -> None:
        self.opened += 1

    async def close(self, *, orderly: bool) -> None:
        self.closed.append(orderly)

    def begin(
        self, units: Sequence[WorkUnit], *, final_attempt: bool
    ) -> list[asyncio.Future[FrameResult]]:
        self.final = final_attempt
        loop = asyncio.get_running_loop()
        for unit in units:
            self.begun.append(unit.frame)
            self.outcomes[unit.frame] = loop.create_future()
        return list(self.outcomes.values())

    def end(self, *frames: int) -> None:
        for frame in frames:
            self.outcomes[frame].set_result(rendered(frame, 1))

    def lose(self, frame: int) -> None:
        self.outcomes[frame].set_exception(RenderError("lost", retryable=True))

    def expect(self, unit: WorkUnit) -> None:
        self.expected.append(unit.frame)

    def expect_no_more(self, unit: WorkUnit) -> None:
        if unit.frame in self.expected:
            self.expected.remove(unit.frame)

    async def render(self, unit: WorkUnit, *, attempt: int, final_attempt: bool) -> FrameResult:
        self.again.append((unit.frame, attempt))
        return rendered(unit.frame, attempt)


class Unreferenced:
    """The storage of a progress that nobody publishes."""


def rendered(frame: int, attempt: int) -> FrameResult:
    unit = UNITS[frame - 1]
    return FrameResult(unit.work_unit_id, "j", frame, "rendered", attempt, "", 0.0, 0.0)


def ahead(
    waves: Waves,
    units: Sequence[WorkUnit] = UNITS,
    *,
    unwanted: Collection[int] = (),
    final_attempt: bool = False,
    progress: JobProgress | None = None,
) -> WavesAhead:
    return WavesAhead(
        waves,
        units,
        final_attempt=final_attempt,
        find_wanted=lambda units, version: [unit for unit in units if unit.frame not in unwanted],
        progress=progress or JobProgress(Unreferenced(), "job", len(units)),
    )


async def turns(frames: WavesAhead, units: Sequence[WorkUnit], told: list[int]) -> None:
    async for unit in frames.in_turn(units):
        told.append(unit.frame)
        await asyncio.sleep(0)


async def until(condition) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0)


def test_all_frames_that_have_to_be_rendered_are_begun_at_once_though_nobody_asks_for_them():
    async def run() -> Waves:
        waves = Waves()
        async with ahead(waves, unwanted=(2, 4), final_attempt=True):
            return waves

    waves = asyncio.run(run())

    assert waves.begun == [1, 3, *range(5, 101)]
    assert waves.final


def test_a_task_run_starts_when_it_is_known_what_became_of_its_frame_or_when_that_is_stored():
    async def run() -> None:
        waves, told = Waves(), []
        async with ahead(waves, UNITS[:4], unwanted=(3,)) as frames:
            telling = asyncio.create_task(turns(frames, UNITS[:4], told))
            await until(lambda: told == [3])
            waves.end(4)
            await until(lambda: told == [3, 4])
            waves.lose(2)
            await until(lambda: told == [3, 4, 2])
            waves.end(1)
            await telling
        assert told == [3, 4, 2, 1]

    asyncio.run(run())


def test_a_frame_that_ended_before_anybody_asked_has_its_turn_and_one_that_has_it_already_none():
    async def run() -> list[int]:
        waves, told = Waves(), []
        async with ahead(waves, UNITS[:4]) as frames:
            waves.end(1, 3)
            telling = asyncio.create_task(turns(frames, UNITS[1:4], told))
            waves.end(2, 4)
            await telling
        return sorted(told)

    assert asyncio.run(run()) == [2, 3, 4]


def test_a_task_run_gets_what_was_rendered_and_so_does_whoever_asks_again():
    async def run() -> None:
        waves = Waves()
        async with ahead(waves) as frames:
            waves.end(1)
            for _ in range(2):
                async with frames.admission(FIRST):
                    result = await frames.render(FIRST, attempt=1, final_attempt=False)
                assert result.frame == 1
        assert waves.again == []

    asyncio.run(run())


def test_a_task_run_that_is_cancelled_leaves_its_frame_in_work():
    async def run() -> None:
        waves = Waves()
        async with ahead(waves) as frames:
            attached = asyncio.create_task(frames.render(FIRST, attempt=1, final_attempt=False))
            await asyncio.sleep(0)
            attached.cancel()
            await asyncio.wait({attached})
            waves.end(1)
            assert (await frames.render(FIRST, attempt=1, final_attempt=False)).frame == 1

    asyncio.run(run())


def test_few_task_runs_are_at_once():
    async def run() -> int:
        waves, most, running = Waves(), 0, 0

        async def task_run(unit: WorkUnit) -> None:
            nonlocal most, running
            async with frames.admission(unit):
                running += 1
                most = max(most, running)
                await frames.render(unit, attempt=1, final_attempt=False)
                await asyncio.sleep(0)
                running -= 1

        async with ahead(waves) as frames:
            waves.end(*range(1, 101))
            await asyncio.gather(*map(task_run, UNITS))
        return most

    assert 1 < asyncio.run(run()) <= 64


def test_frames_that_are_lost_together_are_expected_together_and_hold_up_no_other():
    async def run() -> None:
        waves = Waves()
        may_try_again = asyncio.Event()
        results: list[FrameResult] = []

        async def task_run(unit: WorkUnit) -> None:
            async with frames.admission(unit):
                with pytest.raises(RenderError, match="lost"):
                    await frames.render(unit, attempt=1, final_attempt=False)
                await may_try_again.wait()
                results.append(await frames.render(unit, attempt=2, final_attempt=False))

        async with ahead(waves) as frames:
            for frame in waves.outcomes:
                waves.lose(frame)
            runs = [asyncio.create_task(task_run(unit)) for unit in UNITS]
            await until(lambda: len(waves.expected) == len(UNITS))
            may_try_again.set()
            await asyncio.gather(*runs)
        assert {result.attempt for result in results} == {2}
        assert waves.expected == []

    asyncio.run(run())


def test_a_frame_that_fails_for_good_is_not_expected_again():
    async def run() -> list[int]:
        waves = Waves()
        async with ahead(waves, final_attempt=True) as frames:
            waves.lose(1)
            async with frames.admission(FIRST):
                with pytest.raises(RenderError, match="lost"):
                    await frames.render(FIRST, attempt=1, final_attempt=True)
                return list(waves.expected)

    assert asyncio.run(run()) == []


def test_frames_count_as_running_and_done_before_their_task_runs_exist():
    async def run() -> None:
        progress = JobProgress(Unreferenced(), "job", 4)
        waves = Waves()
        async with ahead(waves, UNITS[:4], unwanted=(4,), progress=progress):
            assert progress.state.running == 3
            waves.end(1)
            waves.lose(2)
            await until(lambda: progress.state.running == 1)
            assert progress.state.done == progress.state.timed == 1
            waves.end(3)
            await until(lambda: progress.state.running == 0)
            assert progress.state.done == 2

    asyncio.run(run())


def test_it_says_whether_it_was_left_in_order():
    async def run() -> list[bool]:
        waves = Waves()
        async with ahead(waves):
            pass
        with pytest.raises(RuntimeError, match="the flow"):
            async with ahead(waves):
                raise RuntimeError("the flow has failed")
        assert waves.opened == 2
        return waves.closed

    assert asyncio.run(run()) == [True, False]
