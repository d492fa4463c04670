"""Which frames each segment of a video has depends on the frames it should have, alone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from render_image.video.segments import plan_segments

FRAMES = st.lists(st.integers(0, 5000), unique=True, max_size=1500).map(sorted)


@given(FRAMES)
def test_every_frame_is_in_one_segment_in_order(frames: list[int]):
    plan = plan_segments(frames)

    assert [frame for segment in plan for frame in segment] == frames
    assert all(plan)


@given(FRAMES)
def test_no_segment_is_longer_than_the_one_before_it_or_than_five_seconds(frames: list[int]):
    lengths = [len(segment) for segment in plan_segments(frames)]

    assert lengths == sorted(lengths, reverse=True)
    assert all(length <= 120 for length in lengths)


@given(st.integers(1, 20_000))
def test_what_is_left_for_when_the_last_frame_is_there_is_little(count: int):
    assert len(plan_segments(range(count))[-1]) <= 8


@given(st.integers(1, 20_000))
def test_a_long_video_has_few_segments_more_than_the_longest_ones_would_make(count: int):
    assert len(plan_segments(range(count))) <= count / 120 + 5


def test_the_segments_of_a_short_video_are():
    assert [len(segment) for segment in plan_segments(range(60))] == [40, 14, 6]
