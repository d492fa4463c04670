"""When waves start and of which frames, in virtual time: no loop, no storage, no cloud."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest

from povstorm_client import RenderSettings, WorkUnit
from povstorm_client.cloud_run.fleet import CloudRunFleet
from povstorm_client.cloud_run.frame_memory import frame_bytes
from povstorm_client.cloud_run.scene_estimate import Estimate
from povstorm_client.cloud_run.terraform_outputs import CloudRunJob
from povstorm_client.errors import CloudError
from povstorm_client.frames.job_settings import JobSettings
from povstorm_client.frames.result import FrameResult, FrameState
from tasks.renderers.cloud_run.frame_wave import WaitingFrame
from tasks.renderers.cloud_run.gathering import Gathering
from tasks.renderers.cloud_run.wave_board import WaveBoard
from tasks.renderers.cloud_run.wave_planner import SAMPLE_FRAMES, WavePlanner
from tasks.renderers.cloud_run.wave_sample import WaveSample
from tasks.renderers.cloud_run.wave_setting import Pace
from tasks.renderers.cloud_run.wave_starts import WaveStarts
from tasks.renderers.renderer import SAME_FAILURES

PACE = Pace(gather_quiet=1.0, gather_most=10.0, sample=90.0)
FLEET = CloudRunFleet("project", "region", (CloudRunJob("render-1g", 1, 1024, 100, 0, 3600),))


class Desk:
    """The parts that decide about starts, put together as the dispatcher does it."""

    def __init__(self, fleet: CloudRunFleet, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.board = WaveBoard()
        self.gathering = Gathering(PACE)
        planner = WavePlanner(fleet, Estimate())
        self.sample = WaveSample(planner, self.board, PACE)
        self.starts = WaveStarts("job", self.gathering, self.sample, planner, self.board)

    def frame(self, number: int, since: float) -> WaitingFrame:
        unit = WorkUnit(RenderSettings("scene.pov", 320, 240, final_frame=1000), number)
        return WaitingFrame(unit, 1, False, since, since, self.loop.create_future())

    def arrive(self, count: int, since: float = 0.0) -> list[WaitingFrame]:
        frames = [self.frame(number, since) for number in range(1, count + 1)]
        for frame in frames:
            self.gathering.arrived(frame)
        return frames


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@pytest.fixture
def desk(loop: asyncio.AbstractEventLoop) -> Desk:
    return Desk(replace(FLEET, lean="fastest"), loop)


@pytest.fixture
def sampling_desk(loop: asyncio.AbstractEventLoop) -> Desk:
    return Desk(FLEET, loop)


def result_of(frame: WaitingFrame, state: FrameState, error: str = "") -> FrameResult:
    unit = frame.unit
    return FrameResult(
        unit.work_unit_id, "job", unit.frame, state, 1, "host", 0.0, 1.0, error=error
    )


def test_a_share_tells_its_container_what_its_frames_are_expected_to_hold(desk: Desk):
    desk.arrive(5)

    (wave,) = desk.starts.next_waves(10.0)

    shares = wave.waiting_shares(JobSettings(), "render:1")
    held = {share.frame_bytes for share in shares}
    assert held == {frame_bytes(320, 240, Estimate().peak_memory_bytes)}
    assert {share.container_image for share in shares} == {"render:1"}


def test_nothing_is_due_before_a_frame_has_come(desk: Desk):
    assert not desk.starts.are_due(100.0)


def test_frames_start_when_none_has_come_for_a_moment(desk: Desk):
    desk.arrive(2, since=5.0)

    assert not desk.starts.are_due(5.9)
    assert desk.starts.are_due(6.0)


def test_frames_that_came_together_are_due_at_once_and_so_are_those_that_a_sample_left(
    sampling_desk: Desk,
):
    desk = sampling_desk
    desk.gathering.all_arrived([desk.frame(number, 5.0) for number in range(1, 101)])

    assert desk.starts.are_due(5.0)
    (sample,) = desk.starts.next_waves(5.0)
    desk.board.end(sample)
    assert desk.starts.are_due(5.1)
    list(desk.starts.next_waves(5.1))
    desk.gathering.arrived(desk.frame(1, since=5.1))
    assert not desk.starts.are_due(5.2)


def test_a_frame_that_is_expected_is_waited_for_until_it_comes_or_needs_no_rendering(desk: Desk):
    desk.gathering.expect("cached")
    desk.arrive(1, since=5.0)

    assert not desk.starts.are_due(14.9)
    desk.gathering.expect_no_more("cached")
    assert desk.starts.are_due(14.9)


def test_the_first_frame_waits_only_so_long_for_those_that_are_expected(desk: Desk):
    desk.gathering.expect("late")
    desk.arrive(1, since=5.0)

    assert desk.starts.are_due(15.0)


def test_a_frame_that_nobody_waits_for_any_more_leaves_a_later_attempt_of_it(desk: Desk):
    first, second = desk.frame(1, 0.0), desk.frame(1, 1.0)
    desk.gathering.arrived(first)
    desk.gathering.arrived(second)

    desk.gathering.forget(first)
    assert list(desk.gathering.pending.values()) == [second]
    desk.gathering.forget(second)
    assert not desk.gathering.pending


def test_a_wave_takes_all_frames_that_have_gathered_and_is_on_the_board(desk: Desk):
    frames = desk.arrive(3)
    frames[1].result.cancel()

    (wave,) = desk.starts.next_waves(7.0)

    assert wave.units == {frames[0].unit.work_unit_id, frames[2].unit.work_unit_id}
    assert list(desk.gathering.pending.values()) == [frames[1]]
    assert desk.board.running == [wave]
    assert wave.launched == 7.0
    assert desk.board.tasks_at_work(0) == wave.tasks == 2


def test_a_wave_that_would_cost_too_much_is_refused_and_its_frames_go_on_waiting(
    loop: asyncio.AbstractEventLoop,
):
    desk = Desk(replace(FLEET, max_usd=1e-9), loop)
    desk.arrive(2)

    with pytest.raises(CloudError, match="the most it may cost"):
        list(desk.starts.next_waves(1.0))

    assert len(desk.gathering.pending) == 2
    assert not desk.board.running


def test_where_time_matters_a_sample_goes_first_and_the_others_wait_for_half_of_it(
    sampling_desk: Desk,
):
    sampling_desk.arrive(100)
    (sample,) = sampling_desk.starts.next_waves(0.0)
    sample.execution = "started"

    assert len(sample.units) == SAMPLE_FRAMES
    assert not sampling_desk.starts.are_due(20.0)
    for unit_id in list(sample.waiting)[: SAMPLE_FRAMES // 2]:
        del sample.waiting[unit_id]
    assert sampling_desk.starts.are_due(20.0)


def test_a_sample_is_waited_for_until_it_has_ended_or_has_taken_too_long(sampling_desk: Desk):
    sampling_desk.arrive(100)
    (sample,) = sampling_desk.starts.next_waves(0.0)

    assert not sampling_desk.starts.are_due(1000.0), "its execution has not started"
    sample.execution = "started"
    assert not sampling_desk.starts.are_due(1000.0), "its tasks wait for a quota"
    sample.begun = 0.0
    assert not sampling_desk.starts.are_due(89.0)
    assert sampling_desk.starts.are_due(90.0)
    sampling_desk.board.end(sample)
    assert sampling_desk.starts.are_due(10.0)


def test_a_sample_whose_frames_fail_alike_holds_the_others_back_for_a_while(sampling_desk: Desk):
    frames = sampling_desk.arrive(100)
    (sample,) = sampling_desk.starts.next_waves(0.0)
    sampling_desk.board.end(sample)
    for frame in frames[:SAME_FAILURES]:
        sampling_desk.sample.saw(result_of(frame, "failed", "Parse Error"))

    assert not sampling_desk.starts.are_due(20.0)
    assert not sampling_desk.starts.are_due(29.0)
    assert sampling_desk.starts.are_due(30.0)


def test_frames_that_fail_alike_hold_nothing_back_when_one_is_rendered(sampling_desk: Desk):
    frames = sampling_desk.arrive(100)
    (sample,) = sampling_desk.starts.next_waves(0.0)
    sampling_desk.board.end(sample)
    for frame in frames[:SAME_FAILURES]:
        sampling_desk.sample.saw(result_of(frame, "failed", "Parse Error"))
    sampling_desk.sample.saw(result_of(frames[-1], "rendered"))

    assert sampling_desk.starts.are_due(20.0)
