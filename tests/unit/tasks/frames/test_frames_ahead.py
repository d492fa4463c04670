"""Frames are in work before their task runs ask for them, each once; nothing outlives the job."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from povstorm_client import RenderError, RenderSettings, WorkUnit
from povstorm_client.frames.chain_link import ChainLink
from povstorm_client.frames.result import FrameResult
from tasks.frames import head_start
from tasks.frames.frames_ahead import FramesAhead
from tasks.frames.job_progress import JobProgress

SETTINGS = RenderSettings("scene.pov", final_frame=9)
SETTINGS_OF_MANY = RenderSettings("scene.pov", final_frame=100)
UNITS = [WorkUnit(SETTINGS, frame=frame) for frame in range(1, 10)]
FIRST, *_, LAST = UNITS


class InMemory:
    """A renderer of two frames at once that renders what it is told to, or fails."""

    version = "3.7.test"

    def __init__(
        self, failing: dict[int, Exception] | None = None, *, is_new: bool = False
    ) -> None:
        self.failing = failing or {}
        self.rendered: list[tuple[int, int, bool]] = []
        self.in_order: list[int] = []
        self.at_work = self.most_at_work = 0
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.entered = 0
        self.parsed = asyncio.Event()
        if not is_new:
            self.parsed.set()
        self._room = asyncio.Semaphore(2)

    async def __aenter__(self) -> InMemory:
        self.entered += 1
        return self

    async def __aexit__(self, *exception: object) -> None:
        self.entered -= 1

    @asynccontextmanager
    async def _admitted(self) -> AsyncIterator[None]:
        async with self._room:
            self.at_work += 1
            self.most_at_work = max(self.most_at_work, self.at_work)
            try:
                yield
            finally:
                self.at_work -= 1

    def admission(self, unit: WorkUnit):
        return self._admitted()

    async def has_parsed(self) -> None:
        await self.parsed.wait()

    async def render(self, unit: WorkUnit, *, attempt: int, final_attempt: bool) -> FrameResult:
        self.in_order.append(unit.frame)
        await asyncio.sleep(0)
        await self.may_end.wait()
        self.rendered.append((unit.frame, attempt, final_attempt))
        if attempt == 1 and unit.frame in self.failing:
            raise self.failing[unit.frame]
        self.parsed.set()
        return FrameResult(
            work_unit_id=unit.work_unit_id,
            job_id="j",
            frame=unit.frame,
            state="rendered",
            attempt=attempt,
            host="",
            started=0.0,
            ended=0.0,
        )


async def wanted(unit: WorkUnit) -> bool:
    return True


def ahead(
    renderer: InMemory,
    *,
    final_attempt: bool = False,
    is_wanted=wanted,
    progress: JobProgress | None = None,
) -> FramesAhead:
    return FramesAhead(
        renderer,
        UNITS,
        final_attempt=final_attempt,
        is_wanted=is_wanted,
        progress=progress or JobProgress(Unreferenced(), "job", len(UNITS)),
    )


def of_units(
    renderer: InMemory, units: list[WorkUnit], *, stored=(), is_wanted=wanted
) -> FramesAhead:
    return FramesAhead(
        renderer,
        units,
        stored=stored,
        final_attempt=False,
        is_wanted=is_wanted,
        progress=JobProgress(Unreferenced(), "job", len(units)),
    )


class Unreferenced:
    """The storage of a progress that nobody publishes."""


async def attach(frames: FramesAhead, unit: WorkUnit, attempt: int = 1) -> FrameResult:
    async with frames.admission(unit):
        return await frames.render(unit, attempt=attempt, final_attempt=False)


def test_all_frames_are_rendered_in_order_though_nobody_asks_for_them():
    async def run() -> list[int]:
        renderer = InMemory()
        async with ahead(renderer):
            while len(renderer.rendered) < len(UNITS):
                await asyncio.sleep(0)
        return [frame for frame, _, _ in renderer.rendered]

    assert asyncio.run(run()) == list(range(1, 10))


def chain() -> list[WorkUnit]:
    units: list[WorkUnit] = []
    for frame in range(1, 10):
        unit = WorkUnit(SETTINGS, frame=frame, link=ChainLink("scene/own"))
        after = units[-1].work_unit_id if units else ""
        units.append(unit.assigned(job_id="j", shared_prefix="", offload_prefix="", after=after))
    return units


def test_frames_that_go_on_from_each_other_are_in_work_one_at_a_time():
    async def run() -> tuple[list[int], int]:
        renderer = InMemory(is_new=True)
        units = chain()
        async with of_units(renderer, units) as frames:
            await frames.all_done()
            results = [await attach(frames, unit) for unit in units]
        assert [result.frame for result in results] == renderer.in_order
        return renderer.in_order, renderer.most_at_work

    assert asyncio.run(run()) == (list(range(1, 10)), 1)


def test_no_frame_is_begun_that_would_go_on_from_one_that_failed():
    async def run() -> list[int]:
        renderer = InMemory({3: RenderError("out of memory", retryable=True)})
        async with of_units(renderer, chain()) as frames:
            await frames.all_done()
        return renderer.in_order

    assert asyncio.run(run()) == [1, 2, 3]


def test_a_chain_goes_on_from_what_is_stored_and_waits_for_what_the_cache_has():
    async def run(which: str) -> list[int]:
        renderer = InMemory()
        units = chain()
        ready = {unit.work_unit_id for unit in units[:4]}

        async def is_wanted(unit: WorkUnit) -> bool:
            return unit.work_unit_id not in ready

        stored = ready if which == "stored" else ()
        async with of_units(renderer, units, stored=stored, is_wanted=is_wanted) as frames:
            await frames.all_done()
        return renderer.in_order

    assert asyncio.run(run("stored")) == [5, 6, 7, 8, 9]
    assert asyncio.run(run("cached")) == []


def test_a_task_run_gets_the_frame_that_is_rendered_already_and_renders_none():
    async def run() -> list[tuple[int, int, bool]]:
        renderer = InMemory()
        async with ahead(renderer) as frames:
            results = await asyncio.gather(*(attach(frames, unit) for unit in UNITS))
            assert [result.frame for result in results] == list(range(1, 10))
            again = await attach(frames, FIRST)
            assert again is results[0]
        return renderer.rendered

    assert asyncio.run(run()) == [(frame, 1, False) for frame in range(1, 10)]


def test_no_more_are_in_work_than_the_renderer_admits():
    async def run() -> int:
        renderer = InMemory()
        async with ahead(renderer) as frames:
            await asyncio.gather(*(attach(frames, unit) for unit in UNITS))
        return renderer.most_at_work

    assert asyncio.run(run()) == 2


def test_a_task_run_is_admitted_once_its_frame_is_in_work():
    async def run() -> None:
        renderer = InMemory()
        renderer.may_end.clear()
        async with ahead(renderer) as frames:
            async with frames.admission(FIRST):
                pass
            late = asyncio.ensure_future(attach(frames, LAST))
            await asyncio.sleep(0.01)
            assert not late.done()
            assert renderer.at_work == 2
            renderer.may_end.set()
            assert (await late).frame == LAST.frame

    asyncio.run(run())


def test_a_failed_attempt_is_raised_to_its_task_run_which_has_the_next_one():
    async def run() -> list[tuple[int, int, bool]]:
        renderer = InMemory({1: RenderError("lost", retryable=True)})
        async with ahead(renderer) as frames:
            with pytest.raises(RenderError, match="lost"):
                await attach(frames, FIRST)
            assert (await attach(frames, FIRST, attempt=2)).attempt == 2
            await attach(frames, LAST)
        return renderer.rendered

    rendered = asyncio.run(run())
    assert [frame for frame, attempt, _ in rendered if attempt == 1] == list(range(1, 10))
    assert (1, 2, False) in rendered


def test_a_failure_that_nobody_attaches_to_disturbs_no_other_frame():
    async def run() -> list[int]:
        renderer = InMemory({3: RenderError("lost", retryable=True)})
        async with ahead(renderer):
            while len(renderer.rendered) < len(UNITS):
                await asyncio.sleep(0)
        return [frame for frame, _, _ in renderer.rendered]

    assert asyncio.run(run()) == list(range(1, 10))


def test_the_last_attempt_is_told_to_be_one():
    async def run() -> list[tuple[int, int, bool]]:
        renderer = InMemory()
        async with ahead(renderer, final_attempt=True) as frames:
            await attach(frames, FIRST)
        return renderer.rendered

    assert asyncio.run(run())[0] == (1, 1, True)


def test_a_frame_that_is_stored_already_is_rendered_only_if_its_task_run_asks():
    async def not_the_first(unit: WorkUnit) -> bool:
        return unit is not FIRST

    async def run() -> list[int]:
        renderer = InMemory()
        async with ahead(renderer, is_wanted=not_the_first) as frames:
            await attach(frames, LAST)
            assert 1 not in [frame for frame, _, _ in renderer.rendered]
            await attach(frames, FIRST)
        return [frame for frame, _, _ in renderer.rendered]

    assert asyncio.run(run()) == [*range(2, 10), 1]


def test_a_task_run_that_is_cancelled_leaves_its_frame_in_work():
    async def run() -> None:
        renderer = InMemory()
        renderer.may_end.clear()
        async with ahead(renderer) as frames:
            attached = asyncio.ensure_future(attach(frames, FIRST))
            await asyncio.sleep(0.01)
            attached.cancel()
            await asyncio.wait({attached})
            renderer.may_end.set()
            assert (await attach(frames, FIRST)).frame == 1
            assert [frame for frame, _, _ in renderer.rendered].count(1) == 1

    asyncio.run(run())


def test_leaving_it_stops_what_is_in_work_and_leaves_the_renderer():
    async def run() -> None:
        renderer = InMemory()
        renderer.may_end.clear()
        async with ahead(renderer):
            await asyncio.sleep(0.01)
            assert (renderer.at_work, renderer.entered) == (2, 1)
        assert (renderer.at_work, renderer.entered) == (0, 0)
        assert renderer.rendered == []
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(run())


def test_what_keeps_frames_from_being_begun_reaches_the_task_runs():
    async def broken(unit: WorkUnit) -> bool:
        raise OSError("the storage is gone")

    async def run() -> None:
        async with ahead(InMemory(), is_wanted=broken) as frames:
            with pytest.raises(OSError, match="gone"):
                await attach(frames, LAST)

    asyncio.run(run())


def parse_errors(*frames: int) -> dict[int, Exception]:
    """What render_unit raises of frames that cannot be parsed: one line, named by the frame."""
    return {
        frame: RenderError(
            f"frame {frame}: Parse Error", retryable=False, log_tail=f"Rendering frame {frame}"
        )
        for frame in frames
    }


async def all_tried(renderer: InMemory) -> list[int]:
    async with ahead(renderer) as frames:
        await frames.all_done()
    return renderer.in_order


def test_a_scene_that_cannot_be_parsed_is_tried_in_three_frames_only():
    renderer = InMemory(parse_errors(*range(1, 10)), is_new=True)

    assert asyncio.run(all_tried(renderer)) == [1, 9, 5]


def test_a_scene_that_takes_long_to_fail_is_tried_in_few_frames_too(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(head_start, "_SECONDS", 0)
    renderer = InMemory(parse_errors(*range(1, 10)), is_new=True)

    assert 5 <= len(asyncio.run(all_tried(renderer))) <= 7


def test_frames_that_were_given_up_are_left_to_whoever_asks_for_them():
    async def run() -> FrameResult:
        hopeless = InMemory(parse_errors(1, 5, 9), is_new=True)
        async with ahead(hopeless) as frames:
            return await attach(frames, UNITS[1])

    assert asyncio.run(run()).frame == 2


def test_a_first_frame_that_fails_alone_costs_only_itself():
    renderer = InMemory(parse_errors(1), is_new=True)

    assert asyncio.run(all_tried(renderer)) == [1, 9, *range(2, 9)]


def test_a_lost_first_frame_says_nothing_of_the_scene():
    renderer = InMemory({1: RenderError("lost", retryable=True)}, is_new=True)

    assert asyncio.run(all_tried(renderer)) == list(range(1, 10))


def test_one_frame_is_alone_until_it_has_parsed_the_scene():
    async def run() -> None:
        renderer = InMemory(is_new=True)
        renderer.may_end.clear()
        async with ahead(renderer) as frames:
            await frames.first_begun()
            for _ in range(20):
                await asyncio.sleep(0)
            assert renderer.in_order == [1]
            renderer.parsed.set()
            while renderer.at_work < 2:
                await asyncio.sleep(0)
            renderer.may_end.set()
            await frames.all_done()
        assert renderer.in_order == list(range(1, 10))

    asyncio.run(run())


def test_frames_are_counted_once_by_those_that_render_and_those_that_attach():
    async def run() -> None:
        progress = JobProgress(Unreferenced(), "job", len(UNITS))
        renderer = InMemory({3: RenderError("lost", retryable=True)})
        renderer.may_end.clear()
        async with ahead(renderer, progress=progress) as frames:
            while renderer.at_work < 1:
                await asyncio.sleep(0)
            with progress.working_on(FIRST):
                assert progress.state.running == 1
                renderer.may_end.set()
                await frames.all_done()
                progress.rendered(FIRST, cached=False, now=True)
            state = progress.state
            assert (state.done, state.timed, state.running, state.failed) == (8, 8, 0, 0)

    asyncio.run(run())


def test_few_task_runs_catch_up_at_once_with_frames_that_are_done():
    async def run() -> int:
        renderer = InMemory()
        units = [WorkUnit(SETTINGS_OF_MANY, frame=frame) for frame in range(1, 101)]
        progress = JobProgress(Unreferenced(), "job", len(units))
        frames = FramesAhead(
            renderer, units, final_attempt=False, is_wanted=wanted, progress=progress
        )
        admitted = most = 0

        async def task_run(unit: WorkUnit) -> None:
            nonlocal admitted, most
            async with frames.admission(unit):
                admitted += 1
                most = max(most, admitted)
                await asyncio.sleep(0)
                admitted -= 1

        async with frames:
            await frames.all_done()
            await asyncio.gather(*map(task_run, units))
        return most

    assert 1 < asyncio.run(run()) <= 16
