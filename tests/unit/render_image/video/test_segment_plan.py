"""Which frames a video's segments have depends on those it should have, and what each takes."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from povstorm_client.frames.video_options import VideoOptions
from render_image.video.segments import MOST_FRAMES, Encoding, most_frames, plan_segments

FRAMES = st.lists(st.integers(0, 5000), unique=True, max_size=1500).map(sorted)


@given(FRAMES)
def test_every_frame_is_in_one_segment_in_order(frames: list[int]):
    plan = plan_segments(frames)

    assert [frame for segment in plan for frame in segment] == frames
    assert all(plan)


@given(FRAMES, st.integers(40, MOST_FRAMES))
def test_no_segment_is_longer_than_the_one_before_it_or_than_allowed(frames: list[int], most: int):
    lengths = [len(segment) for segment in plan_segments(frames, most)]

    assert lengths == sorted(lengths, reverse=True)
    assert all(length <= most for length in lengths)


@given(st.integers(1, 20_000))
def test_what_is_left_for_when_the_last_frame_is_there_is_little(count: int):
    assert len(plan_segments(range(count))[-1]) <= 8


@given(st.integers(1, 20_000))
def test_a_long_video_has_few_segments_more_than_the_longest_ones_would_make(count: int):
    assert len(plan_segments(range(count))) <= count / 120 + 5


@pytest.mark.parametrize(
    ("size", "codec", "most"),
    [
        ((320, 180), None, 120),
        ((640, 360), None, 120),
        ((1280, 720), None, 108),
        ((1920, 1080), None, 48),
        ((3840, 2160), None, 40),
        ((640, 360), "av1", 69),
        ((1920, 1080), "h265", 40),
    ],
)
def test_the_more_a_frame_takes_the_shorter_the_segments(
    size: tuple[int, int], codec: str | None, most: int
):
    options = VideoOptions(codec=codec)
    encoding = Encoding(Path("video.mp4"), Fraction(24), "", "ffmpeg", "ffprobe", options)

    assert most_frames(size[0] * size[1], encoding) == most


def test_the_segments_of_a_short_video_are():
    assert [len(segment) for segment in plan_segments(range(60))] == [40, 14, 6]
