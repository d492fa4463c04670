"""Segments are encoded by containers where that is worth it, with the memory that they need."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from povstorm_client.cloud_run.fleet import CloudRunFleet
from povstorm_client.cloud_run.terraform_outputs import CloudRunJob
from povstorm_client.frames.video_options import VideoOptions
from render_image.video.segments import FrameImage
from tasks.video.cloud_run.segment_planner import SegmentPlanner
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
    assert not planner.is_enough(segments(9), is_all=False)
    assert planner.is_enough(segments(10), is_all=False)


def test_what_is_left_in_the_end_is_enough_however_little(planner: SegmentPlanner):
    assert planner.is_enough(segments(1), is_all=True)
    assert not planner.is_enough([], is_all=True)


def test_what_was_lost_waits_for_no_others(planner: SegmentPlanner):
    (segment,) = segments(1)
    assert planner.is_enough([replace(segment, attempt=2)], is_all=False)
    assert planner.is_worth_it([replace(segment, attempt=2)], 1)


def test_little_is_not_worth_containers(planner: SegmentPlanner):
    assert planner.is_worth_it(segments(1), FULL_HD)
    assert not planner.is_worth_it(segments(1), FULL_HD // 10)


def test_webm_takes_longer(planner: SegmentPlanner):
    webm = SegmentPlanner(FLEET, "webm", segments=40, worth=15.0)
    assert webm.is_worth_it(segments(1), FULL_HD // 10)


def test_a_chosen_codec_has_its_own_time_and_memory(planner: SegmentPlanner):
    av1 = SegmentPlanner(FLEET, "mp4", 40, 15.0, VideoOptions(codec="av1"))
    assert av1.is_worth_it(segments(1), FULL_HD // 5)
    assert not planner.is_worth_it(segments(1), FULL_HD // 5)
    assert list(av1.by_size(segments(2), 1280 * 720)) == [1]
    assert list(planner.by_size(segments(2), 1280 * 720)) == [0]


def test_large_images_and_what_ran_out_of_memory_get_the_larger_job(planner: SegmentPlanner):
    assert list(planner.by_size(segments(2), 640 * 480)) == [0]
    assert list(planner.by_size(segments(2), FULL_HD)) == [1]
    assert list(planner.by_size([replace(segments(1)[0], size=1)], 640 * 480)) == [1]


def test_images_larger_than_any_job_get_the_largest(planner: SegmentPlanner):
    assert list(planner.by_size(segments(1), 100 * FULL_HD)) == [1]
