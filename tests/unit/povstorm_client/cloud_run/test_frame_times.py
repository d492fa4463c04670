"""What is known of how long each frame takes, and how frames are dealt to tasks by it."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from povstorm_client import RenderSettings
from povstorm_client.cloud_run.frame_times import (
    FrameTimes,
    least_loaded,
    read_frame_times,
    write_frame_times,
)
from povstorm_client.frames.result import FrameResult, FrameState, FrameStatistics
from povstorm_client.storage.folder import FolderStorage

SETTINGS = RenderSettings("scene.pov", 640, 480, final_frame=101)


def result(
    frame: int, seconds: float, state: FrameState = "rendered", *, cache_hit: bool = False
) -> FrameResult:
    statistics = FrameStatistics(*[0.0] * 5, seconds, seconds, 2**26, 1, None, None, 1)
    return FrameResult(
        f"frame-{frame:04d}-0",
        "job",
        frame,
        state,
        1,
        "",
        0.0,
        1.0,
        statistics=statistics,
        cache_hit=cache_hit,
    )


def test_a_frame_takes_what_it_took_and_others_what_lies_between_their_neighbours():
    times = FrameTimes.of([result(11, 2.0), result(31, 6.0)], SETTINGS)

    taken = {frame: times.expected(frame, SETTINGS) for frame in (1, 11, 16, 21, 31, 101)}

    assert taken == {1: 2.0, 11: 2.0, 16: pytest.approx(3.0), 21: 4.0, 31: 6.0, 101: 6.0}


def test_a_preview_of_fewer_frames_in_another_size_tells_of_the_whole(storage: FolderStorage):
    preview = RenderSettings("scene.pov", 64, 48, final_frame=11)
    frames = [result(frame, 1.0 if frame < 6 else 3.0) for frame in range(1, 12)]

    write_frame_times(storage, "orbit", preview, FrameTimes.of(frames, preview))
    times = read_frame_times(storage, "orbit", SETTINGS)

    assert times.expected(10, SETTINGS) == 1.0
    assert times.expected(90, SETTINGS) == 3.0


def test_only_frames_that_were_rendered_now_tell_anything():
    frames = [result(1, 5.0, "failed"), result(2, 5.0, cache_hit=True), result(500, 5.0)]

    assert FrameTimes.of(frames, SETTINGS).expected(1, SETTINGS) is None


def test_of_very_many_frames_an_even_sample_is_kept():
    settings = RenderSettings("scene.pov", final_frame=100_000)
    frames = [result(frame, frame / 1000) for frame in range(1, 100_001)]

    times = FrameTimes.of(frames, settings)

    assert len(times.points) == 20_000
    assert times.expected(70_003, settings) == pytest.approx(70.003, rel=0.01)


@pytest.mark.parametrize("stored", [b"{", b'{"points": [[2, 1]]}', b'{"points": [[0.5, -1]]}'])
def test_what_is_not_readable_tells_nothing(stored: bytes, storage: FolderStorage):
    write_frame_times(storage, "orbit", SETTINGS, FrameTimes())
    (entry,) = storage.list("estimates")
    storage.write(entry.key, stored)

    assert read_frame_times(storage, "orbit", SETTINGS) == FrameTimes()
    assert read_frame_times(storage, "another", SETTINGS) == FrameTimes()


@given(
    st.lists(st.floats(min_value=0, max_value=1e6), min_size=1, max_size=60),
    st.integers(min_value=1, max_value=60),
)
def test_every_frame_has_one_task_no_task_is_without_and_the_long_ones_come_first(
    seconds: list[float], tasks: int
):
    tasks = min(tasks, len(seconds))

    shares = least_loaded(seconds, tasks)

    assert len(shares) == tasks
    assert all(shares)
    assert sorted(index for share in shares for index in share) == list(range(len(seconds)))
    for share in shares:
        taken = [seconds[index] for index in share]
        assert taken == sorted(taken, reverse=True)
    fullest = max(sum(seconds[index] for index in share) for share in shares)
    least = max(sum(seconds) / tasks, *seconds)
    assert fullest <= least * 2 + 1e-6


def test_frames_that_differ_much_take_hardly_more_than_the_least_time():
    generator = random.Random(7)  # noqa: S311 - no secret
    seconds = [generator.lognormvariate(0, 0.5) for _ in range(1000)]

    shares = least_loaded(seconds, 100)

    fullest = max(sum(seconds[index] for index in share) for share in shares)
    assert fullest <= 1.02 * sum(seconds) / 100
