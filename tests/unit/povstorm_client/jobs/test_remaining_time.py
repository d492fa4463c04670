"""What is said of the time that is left: nothing without ground, and then about the truth."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from povstorm_client.jobs.remaining_time import forecast_left, left_words, seconds_left
from povstorm_client.jobs.state import JobState

START = 1_000_000.0


@dataclass(frozen=True)
class Moment:
    """The state of a simulated run at some time, and how long it really goes on from there."""

    state: JobState
    now: float
    left: float


def run(seconds: list[float], at_once: int, *, cached: int = 0) -> Iterator[Moment]:
    """A run of frames that take so long, handed out in order to so many lanes.

    It is looked at in the middle between any two things that happen.
    """
    free = [START] * min(at_once, len(seconds))
    spans = []
    for each in seconds:
        begun = heapq.heappop(free)
        spans.append((begun, begun + each))
        heapq.heappush(free, begun + each)
    end = max(ended for _, ended in spans)
    events = sorted({moment for span in spans for moment in span})
    for earlier, later in itertools.pairwise(events):
        now = (earlier + later) / 2
        done = sorted((ended, ended - begun) for begun, ended in spans if ended <= now)
        working = tuple(begun for begun, ended in spans if begun <= now < ended)
        latest = [took for _, took in done[-50:]]
        state = JobState(
            "rendering",
            total=cached + len(seconds),
            done=cached + len(done),
            cached=cached,
            running=len(working),
            timed=len(done),
            frame_seconds=sum(latest) / len(latest) if latest else 0.0,
            first_end=done[0][0] if done else 0.0,
            last_end=done[-1][0] if done else 0.0,
            begun=working,
        )
        yield Moment(state, now, end - now)


@given(st.integers(1, 40), st.integers(1, 9), st.floats(0.1, 1e3), st.integers(0, 5))
def test_of_equal_frames_it_is_right_from_the_first_on(
    frames: int, at_once: int, each: float, cached: int
):
    for moment in run([each] * frames, at_once, cached=cached):
        told = seconds_left(moment.state, moment.now)
        if not moment.state.timed:
            assert told is None
        else:
            assert told == pytest.approx(moment.left, abs=0.06 * each)


@given(
    st.lists(st.floats(0.5, 1.5), min_size=2, max_size=60),
    st.integers(1, 9),
)
def test_of_unequal_frames_it_is_wrong_by_no_more_than_they_differ(
    seconds: list[float], at_once: int
):
    longest, shortest = max(seconds), min(seconds)
    for moment in run(seconds, at_once):
        told = seconds_left(moment.state, moment.now)
        if told is not None:
            rounds = -(-(moment.state.total - moment.state.done) // at_once)
            assert abs(told - moment.left) <= (rounds + 1) * (longest - shortest) + longest


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=30), st.integers(1, 9))
def test_nothing_is_said_before_a_frame_was_rendered_and_never_less_than_nothing(
    seconds: list[float], at_once: int
):
    for moment in run(seconds, at_once, cached=7):
        told = seconds_left(moment.state, moment.now)
        assert (told is None) == (moment.state.timed == 0)
        assert told is None or told >= 0


def test_frames_from_the_cache_do_not_make_the_others_look_quick():
    first, *_ = (m for m in run([10.0] * 8, 4, cached=500) if m.state.timed)
    assert seconds_left(first.state, first.now) == pytest.approx(first.left, abs=0.6)


def test_a_frame_that_is_tried_again_and_again_keeps_the_end_away():
    state = JobState("rendering", 10, done=9, running=1, timed=9, frame_seconds=2.0, begun=(START,))
    told = [seconds_left(state, START + age) for age in (10, 100, 1000)]
    assert told == sorted(told)
    assert told[-1] >= 500


def test_where_frames_wait_for_containers_their_rate_tells():
    state = JobState(
        "rendering",
        100,
        done=21,
        failed=1,
        running=78,
        timed=21,
        frame_seconds=300.0,
        first_end=START,
        last_end=START + 40,
        begun=(START - 300,) * 78,
        queued=True,
    )
    assert seconds_left(state, START + 40) == pytest.approx(78 * 2)
    assert seconds_left(state, START + 42) == pytest.approx(78 * 2 - 2)
    assert seconds_left(replace(state, timed=4), START + 40) is None
    assert seconds_left(replace(state, last_end=START), START + 40) is None


@pytest.mark.parametrize("phase", ["staging", "stitching", "reporting", "completed", "submitted"])
def test_of_anything_but_rendering_nothing_is_said(phase: str):
    state = JobState(phase, 10, done=3, timed=3, frame_seconds=1.0, begun=(START,))
    assert seconds_left(state, START) is None


def test_the_end_of_rendering_is_no_time_that_is_left():
    state = JobState("rendering", 3, done=2, failed=1, timed=2, frame_seconds=1.0, begun=(START,))
    assert seconds_left(state, START) is None


def test_frames_that_become_slower_are_told_to_take_longer_than_the_latest():
    """As POV-Ray's scenes do that something grows in: the average alone would promise too much."""
    seconds = [1 + 0.05 * frame for frame in range(1, 101)]
    frames = range(1, 101)
    for moment in list(run(seconds, 2))[60:150:15]:
        done = moment.state.done
        sampled = tuple((frame, seconds[frame - 1]) for frame in range(1, done + 1))
        state = replace(moment.state, rendered=((1, done),), sampled=sampled)
        average, left = seconds_left(state, moment.now), forecast_left(state, moment.now, frames)
        assert average is not None
        assert left is not None
        assert abs(left.seconds - moment.left) < abs(average - moment.left)
        assert left.low < moment.left < left.high


def test_bounds_are_told_where_they_are_apart():
    state = JobState(
        "rendering",
        10,
        done=2,
        running=1,
        timed=2,
        frame_seconds=2.0,
        begun=(START,),
        rendered=((1, 2),),
        sampled=((1, 1.0), (2, 3.0)),
    )
    assert left_words(state, START, range(1, 11)) == "about 16 s left (6.5 s to 39 s)"
    assert left_words(replace(state, sampled=()), START, range(1, 11)) == "about 16 s left"
    assert left_words(replace(state, phase="staging"), START, range(1, 11)) == ""


def test_of_a_run_that_is_not_heard_of_there_is_no_telling():
    for moment in run([5.0] * 8, 2):
        heard = replace(moment.state, updated=moment.now - 100)
        silent = replace(moment.state, updated=moment.now - 130)
        assert seconds_left(heard, moment.now) == seconds_left(moment.state, moment.now)
        assert seconds_left(silent, moment.now) is None
        assert left_words(silent, moment.now, range(1, 9)) == ""
