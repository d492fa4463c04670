"""Segments are encoded by containers where that is worth it, with the memory that they need."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from povstorm_client.cloud_run.fleet import CloudRunFleet
from povstorm_client.cloud_run.terraform_outputs import CloudRunJob
from povstorm_client.frames.video_options import VideoOptions
from render_image.video.segments import FrameImage
from tasks.video.cloud_run.segment_planner import SegmentPlanner, fewer_ahead
from tasks.video.cloud_run.segment_wave import WaitingSegment

SIZES = (512, 2048)
FLEET = CloudRunFleet(
    "project", "region", tuple(CloudRunJob(f"m{size}", 1, size, 40, 0, 600) for size in SIZES)
)
FULL_HD = 1920 * 1080


def segments(number: int, frames: int = 120) -> list[WaitingSegment]:
    images = tuple(FrameImage(frame, Path(f"{frame}.png")) for frame in range(frames))
    return [WaitingSegment(f"segment-{each}", images) for each in range(number)]


@pytest.fixture
def planner() -> SegmentPlanner:
    return SegmentPlanner(FLEET, "mp4", segments=40, worth=15.0)


def test_a_quarter_of_a_long_video_is_gathered(planner: SegmentPlanner):
    assert planner.place(segments(9), FULL_HD, is_all=False) == "nowhere yet"
    assert planner.place(segments(10), FULL_HD, is_all=False) == "containers"


def test_what_is_left_in_the_end_is_begun_however_few_they_are(planner: SegmentPlanner):
    assert planner.place(segments(1), FULL_HD, is_all=True) == "containers"
    assert planner.place([], FULL_HD, is_all=True) == "nowhere yet"


def test_what_was_lost_waits_for_no_others(planner: SegmentPlanner):
    (segment,) = segments(1)
    again = [replace(segment, attempt=2)]
    assert planner.place(again, 1, is_all=False) == "containers"
    assert planner.place(again, 1, is_all=True) == "containers"


def test_little_is_not_worth_containers(planner: SegmentPlanner):
    assert planner.place(segments(1), FULL_HD // 10, is_all=True) == "here"


@pytest.mark.parametrize("pixels", [320 * 180, 640 * 360, 1280 * 720, FULL_HD])
@pytest.mark.parametrize("length", [9, 40, 120, 1000])
def test_of_a_long_video_containers_encode_all_but_what_is_soon_done(length: int, pixels: int):
    planner = SegmentPlanner(FLEET, "mp4", segments=length, worth=15.0)
    waiting: list[WaitingSegment] = []
    for segment in segments(length):
        waiting.append(segment)
        place = planner.place(waiting, pixels, is_all=False)
        assert place != "here", "others will come, with which it is worth containers"
        if place == "containers":
            waiting.clear()
    if planner.place(waiting, pixels, is_all=True) == "here":
        left = sum(len(segment.images) for segment in waiting)
        assert left * pixels * 8e-8 < 15.0


@pytest.mark.parametrize(("prefer", "tasks"), [("fastest", 39), ("balanced", 20), ("cheapest", 4)])
def test_ahead_of_the_last_segments_as_many_tasks_are_started_as_is_preferred(
    prefer: str, tasks: int
):
    planner = SegmentPlanner(replace(FLEET, lean=prefer), "mp4", segments=39, worth=15.0)
    plan, size = planner.plan_ahead([27] * 39, FULL_HD, patience=60.0)
    assert (plan.frames, plan.tasks, size) == (39, tasks, 1)
    # Each may wait for all of it.
    assert plan.usd >= tasks * 70 * (1.8e-5 + 2 * 2e-6)


def test_ahead_are_no_more_tasks_than_may_run_at_once(planner: SegmentPlanner):
    plan, _ = planner.plan_ahead([27] * 400, FULL_HD, patience=60.0)
    assert plan.tasks == 40
    assert plan.seconds >= 70 + 10 * 27 * FULL_HD * 8e-8


@pytest.mark.parametrize("pixels", [FULL_HD, 100 * FULL_HD])
def test_what_fewer_tasks_than_planned_cost_is_what_they_encode_then(
    planner: SegmentPlanner, pixels: int
):
    plan, _ = planner.plan_ahead([27] * 9, pixels, patience=60.0)
    each = 27 * pixels * 8e-8
    for tasks in (4, 2, 1):
        before, plan = plan, fewer_ahead(plan, tasks, 60.0)
        assert (plan.frames, plan.tasks) == (9, tasks)
        assert plan.seconds >= 70 + 9 / tasks * each
        assert (tasks * 70 + 9 * each) * (1.8e-5 + 2 * 2e-6) <= plan.usd <= before.usd


def test_webm_takes_longer(planner: SegmentPlanner):
    webm = SegmentPlanner(FLEET, "webm", segments=40, worth=15.0)
    assert webm.place(segments(1), FULL_HD // 10, is_all=True) == "containers"


def test_a_chosen_codec_has_its_own_time_and_memory(planner: SegmentPlanner):
    av1 = SegmentPlanner(FLEET, "mp4", 40, 15.0, VideoOptions(codec="av1"))
    assert av1.place(segments(1), FULL_HD // 5, is_all=True) == "containers"
    assert planner.place(segments(1), FULL_HD // 5, is_all=True) == "here"
    assert list(av1.by_size(segments(2), 1280 * 720)) == [1]
    assert list(planner.by_size(segments(2), 1280 * 720)) == [0]


def test_large_images_and_what_ran_out_of_memory_get_the_larger_job(planner: SegmentPlanner):
    assert list(planner.by_size(segments(2), 640 * 480)) == [0]
    assert list(planner.by_size(segments(2), FULL_HD)) == [1]
    assert list(planner.by_size([replace(segments(1)[0], size=1)], 640 * 480)) == [1]


def test_images_larger_than_any_job_get_the_largest(planner: SegmentPlanner):
    assert list(planner.by_size(segments(1), 100 * FULL_HD)) == [1]
