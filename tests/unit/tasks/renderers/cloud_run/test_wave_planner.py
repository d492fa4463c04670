"""What the next wave looks like after frames were measured, lost, or ran out of memory."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from povstorm_client import RenderSettings, WorkUnit
from povstorm_client.cloud_run.fleet import CloudRunFleet
from povstorm_client.cloud_run.frame_times import FrameTimes
from povstorm_client.cloud_run.scene_estimate import Estimate
from povstorm_client.cloud_run.terraform_outputs import CloudRunJob
from povstorm_client.errors import CloudError
from povstorm_client.frames.result import FrameResult, FrameStatistics
from tasks.renderers.cloud_run.frame_wave import WaitingFrame
from tasks.renderers.cloud_run.wave_planner import SAMPLE_FRAMES, Kind, WavePlanner

SMALL = CloudRunJob("render-1g", 1, 1024, 100, 0, 3600)
LARGE = CloudRunJob("render-4g", 1, 4096, 100, 0, 3600)
FLEET = CloudRunFleet("project", "region", (SMALL, LARGE))


def unit(frame: int = 1, width: int = 320, height: int = 240) -> WorkUnit:
    settings = RenderSettings("scene.pov", width, height, final_frame=100)
    return WorkUnit(settings, frame)


def waiting(count: int, **size: int) -> list[WaitingFrame]:
    loop = asyncio.new_event_loop()
    frames = [
        WaitingFrame(unit(frame, **size), 1, False, 0.0, 0.0, loop.create_future())
        for frame in range(1, count + 1)
    ]
    loop.close()
    return frames


def result(cpu_seconds: float, peak_mib: int = 50) -> FrameResult:
    statistics = FrameStatistics(
        *[0.0] * 5, cpu_seconds, cpu_seconds + 0.7, peak_mib * 2**20, 100, 1, 1, 1000
    )
    return FrameResult("id", "job", 1, "rendered", 1, "host", 0.0, 1.0, statistics=statistics)


def test_frames_of_an_unknown_scene_are_sampled():
    plan = WavePlanner(FLEET, Estimate()).plan(SAMPLE_FRAMES, Kind(0, False), used_tasks=0)

    assert plan.tasks == SAMPLE_FRAMES / 4


def test_the_fastest_plan_needs_no_sample_but_a_budget_does():
    fast = replace(FLEET, lean="fastest")
    planner = WavePlanner(fast, Estimate())

    assert not planner.needs_sample
    assert planner.plan(1000, Kind(0, False), used_tasks=0).tasks == 100
    assert WavePlanner(replace(fast, max_usd=1.0), Estimate()).needs_sample


def test_what_was_measured_counts_more_than_what_was_told_or_known():
    known = Estimate(frames=10, total_cpu_seconds=10.0)
    planner = WavePlanner(replace(FLEET, seconds_per_frame=5.0), known)
    assert planner.cpu_seconds == 5.0

    planner.saw(result(2.0))
    planner.saw(result(4.0))

    assert planner.cpu_seconds == 3.0
    assert WavePlanner(FLEET, known).cpu_seconds == 1.0


def test_a_sample_without_any_result_tells_that_frames_are_slow():
    planner = WavePlanner(FLEET, Estimate())
    planner.no_frame_within(90.0)

    plan = planner.plan(100, Kind(0, False), used_tasks=0)

    assert plan.tasks > 50


def test_a_frame_whose_container_ran_out_of_memory_is_given_more():
    planner = WavePlanner(FLEET, Estimate())
    frames = waiting(3)

    assert planner.ran_out_of_memory(frames[1].unit, 0, alone=False)

    groups = planner.by_kind(frames)
    assert groups[Kind(0, False)] == [frames[0], frames[2]]
    assert groups[Kind(1, False)] == [frames[1]]


def test_in_the_largest_container_it_is_tried_alone_and_then_given_up():
    planner = WavePlanner(FLEET, Estimate())
    (frame,) = waiting(1)

    assert planner.ran_out_of_memory(frame.unit, 1, alone=False)
    assert list(planner.by_kind([frame])) == [Kind(1, True)]
    assert planner.plan(1, Kind(1, True), used_tasks=0).tasks == 1
    assert not planner.ran_out_of_memory(frame.unit, 1, alone=True)


def test_a_frame_that_was_lost_twice_gets_a_container_of_its_own():
    planner = WavePlanner(FLEET, Estimate(frames=1, total_cpu_seconds=0.1))
    frames = waiting(2)
    planner.saw(result(1.0))
    planner.lost(frames[0].unit)
    assert list(planner.by_kind(frames)) == [Kind(0, False)]

    planner.lost(frames[0].unit)

    assert planner.by_kind(frames)[Kind(0, True)] == [frames[0]]
    assert planner.plan(5, Kind(0, True), used_tasks=0).tasks == 5


def test_frames_share_containers_however_often_they_are_lost_until_one_has_stored_something():
    planner = WavePlanner(FLEET, Estimate())
    frames = waiting(12)
    for frame in [*frames, *frames, *frames]:
        planner.lost(frame.unit)

    assert list(planner.by_kind(frames)) == [Kind(0, False)]

    planner.saw(result(1.0))
    assert list(planner.by_kind(frames)) == [Kind(0, True)]


def test_few_frames_find_out_whether_containers_are_let_in_now():
    fast = WavePlanner(replace(FLEET, lean="fastest"), Estimate(1, 1.0))
    fast.not_let_in()

    assert fast.needs_sample
    assert fast.plan(SAMPLE_FRAMES, Kind(0, False), used_tasks=0).tasks == SAMPLE_FRAMES / 4

    fast.saw(result(1.0))
    assert not fast.needs_sample


def test_images_too_large_for_the_small_job_start_in_the_large_one():
    planner = WavePlanner(FLEET, Estimate())

    assert list(planner.by_kind(waiting(1, width=7680, height=4320))) == [Kind(1, False)]


def test_scenes_that_need_much_memory_start_in_the_large_one_the_next_time():
    planner = WavePlanner(FLEET, Estimate(1, 1.0, peak_memory_bytes=800 * 2**20))

    assert list(planner.by_kind(waiting(1))) == [Kind(1, False)]


def test_a_plan_above_the_budget_is_refused_with_its_price():
    fleet = replace(FLEET, max_usd=0.01, seconds_per_frame=10.0)
    planner = WavePlanner(fleet, Estimate())
    plan = planner.plan(1000, Kind(0, False), used_tasks=0)

    with pytest.raises(CloudError, match=r"1000 frames in .* \$0\.2.*--max-cost") as refusal:
        planner.check_budget(plan, started_usd=0.0)

    assert refusal.value.kind == "refused"


def test_what_was_started_before_counts_towards_the_budget():
    planner = WavePlanner(replace(FLEET, max_usd=0.01, seconds_per_frame=1.0), Estimate())
    plan = planner.plan(10, Kind(0, False), used_tasks=0)

    planner.check_budget(plan, started_usd=0.001)
    with pytest.raises(CloudError, match="after"):
        planner.check_budget(plan, started_usd=0.0095)


def test_neighbours_go_to_different_tasks():
    shares = WavePlanner(FLEET, Estimate()).share_out(waiting(7), 3)

    assert [[each.unit.frame for each in share] for share in shares] == [[1, 4, 7], [2, 5], [3, 6]]


def test_frames_that_took_long_before_are_dealt_first_and_evenly():
    times = FrameTimes(((0.0, 1.0), (0.5, 9.0), (1.0, 1.0)))
    frames = waiting(100)

    shares = WavePlanner(FLEET, Estimate(), times).share_out(frames, 10)

    assert {share[0].unit.frame for share in shares} == set(range(46, 56))
    loads = [
        sum(times.expected(frame.unit.frame, frame.unit.settings) for frame in share)
        for share in shares
    ]
    assert max(loads) < 1.05 * min(loads)


def test_a_sample_tells_which_frames_take_long_and_each_task_gets_as_many():
    planner = WavePlanner(FLEET, Estimate())
    for frame, seconds in ((1, 1.0), (50, 1.0), (100, 8.0)):
        planner.saw(replace(result(seconds), frame=frame))

    shares = planner.share_out(waiting(100), 10)

    assert {share[0].unit.frame for share in shares} == set(range(91, 101))
    assert {len(share) for share in shares} == {10}
