"""Frame choices are exact, ascending and within the animation."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import povstorm_client.frames.ranges
from povstorm_client import Cluster, InputError, Job, RenderSettings, WorkUnit
from povstorm_client.frames.ranges import frame_ranges
from povstorm_client.scene.frame_choice import parse_frames, subset


@pytest.mark.parametrize(
    ("text", "frames"),
    [
        ("7", (7,)),
        ("1-4", (1, 2, 3, 4)),
        ("1-20x10", (1, 11)),
        ("1, 5, 9-11", (1, 5, 9, 10, 11)),
        ("9-10,1", (1, 9, 10)),
    ],
)
def test_the_ways_to_write_frames(text: str, frames: tuple[int, ...]):
    assert parse_frames(text, 1, 20) == frames


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not understood"),
        ("a-b", "not understood"),
        ("1-", "not understood"),
        ("-3", "not understood"),
        ("5-1", "are none"),
        ("1-5x0", "are none"),
        ("1-99", "outside of the animation, which has 1 to 20"),
        ("0", "outside"),
        ("1-5,3", "twice"),
    ],
)
def test_what_is_no_choice_of_frames_is_refused(text: str, words: str):
    with pytest.raises(InputError, match=words):
        parse_frames(text, 1, 20)


@given(st.sets(st.integers(0, 500), min_size=1, max_size=15))
def test_frames_written_as_ranges_are_read_back(frames: set[int]):
    assert parse_frames(frame_ranges(frames), 0, 500) == tuple(sorted(frames))


@pytest.mark.parametrize(
    ("start", "end", "frames"),
    [(None, None, (1, 8)), (5, 6, (5, 6)), (0.5, 0.75, (4, 6)), (None, 3, (1, 3)), (0, 3, (1, 3))],
)
def test_subsets_are_povrays(start: float | None, end: float | None, frames: tuple[int, int]):
    assert subset(1, 8, start, end) == tuple(range(frames[0], frames[1] + 1))


@pytest.mark.parametrize(("start", "end"), [(6, 5), (3, 9), (9, None)])
def test_an_impossible_subset_is_refused(start: float, end: float):
    with pytest.raises(InputError, match="Subset_Start_Frame"):
        subset(1, 8, start, end)


def test_shares_are_counted_from_frame_0_and_one_more_in_a_cycle():
    assert subset(5, 14, 0.5, 0.8) == (5, 6, 7, 8)
    assert subset(1, 19, 0.5, None, cyclic=True)[0] == 10
    assert subset(1, 19, 0.5, None)[0] == 9


def test_a_frame_step_leaves_out_frames():
    assert subset(1, 8, None, None, step=3) == (1, 4, 7)


@pytest.mark.parametrize("frames", ["1-2000000000", "1-1000001", "1-500000,500001-1000001"])
def test_more_frames_than_a_job_may_have_are_refused_at_once(frames: str):
    with pytest.raises(InputError, match=r"more than the 1,000,000 that a job may have.*--frames"):
        parse_frames(frames, 1, 2**31 - 2)


def test_the_frames_of_a_huge_animation_are_refused_unless_few_are_chosen():
    with pytest.raises(InputError, match=r"2,147,483,646 frames are more than the 1,000,000"):
        subset(1, 2**31 - 2, None, None)
    assert subset(1, 2**31 - 2, 5, 6) == (5, 6)
    assert subset(1, 2**31 - 2, None, None, step=2**30) == (1, 2**30 + 1)
    assert parse_frames("1-2000000000x1000000000", 1, 2**31 - 2) == (1, 1_000_000_001)


def test_a_client_program_is_told_of_the_limit_too(cluster: Cluster, monkeypatch):
    monkeypatch.setattr(povstorm_client.frames.ranges, "MAX_FRAMES", 2)
    job = Job(cluster, "film")
    settings = RenderSettings("a.pov", final_frame=3)
    job.add_work_unit(WorkUnit(settings, 1))
    job.add_work_unit(WorkUnit(settings, 2))
    with pytest.raises(InputError, match="3 frames are more than the 2"):
        job.add_work_unit(WorkUnit(settings, 3))
