"""When the last frame will be there follows from what frames took, and how many are at work."""

from __future__ import annotations

import pytest

from tasks.video.cloud_run.rendering_rest import RenderingRest


def rest_of(*seconds: float, now: float = 0.0) -> RenderingRest:
    rest = RenderingRest()
    for each in seconds:
        rest.frame_took(each, now)
    return rest


def test_nothing_tells_before_the_first_frame_or_while_nothing_renders():
    assert rest_of().seconds_left(100, 10, 0.0) is None
    assert rest_of(5.0).seconds_left(100, 0, 0.0) is None


def test_frames_that_come_steadily_go_on_so():
    assert rest_of(8.0, 12.0).seconds_left(100, 10, 0.0) == pytest.approx(100.0)


def test_of_frames_that_come_together_their_time_passes_until_the_next_do():
    rest = rest_of(60.0, now=540.0)
    assert rest.seconds_left(100, 100, 540.0) == pytest.approx(60.0)
    assert rest.seconds_left(100, 100, 575.0) == pytest.approx(25.0)
    assert rest.seconds_left(100, 100, 700.0) == 0.0


def test_frames_go_by_their_neighbours_and_not_by_the_first_ones():
    assert rest_of(*[1.0] * 100, *[10.0] * 32).seconds_left(10, 10, 0.0) == pytest.approx(10.0)
