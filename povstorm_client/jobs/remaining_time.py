"""How long the rest of a job's rendering will take; the progress bar and ``povstorm status`` ask.

Arithmetic on a JobState alone. Nothing is said before there is ground for it: until this run has
rendered a frame itself, nobody knows what one takes.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from povstorm_client.jobs.forecast import Forecast, forecast
from povstorm_client.jobs.state import JobState
from povstorm_client.quantities import duration

# Where frames wait for containers, their rate is all that tells; so many make one.
_FEWEST_FOR_A_RATE = 5
# A frame that should be done is not, by this part of what a frame takes.
_LEAST_REST = 0.05
# Bounds that are so near to each other say nothing that "about" does not.
_SURE = 1.2


def seconds_left(state: JobState, now: float) -> float | None:
    """Seconds until the last frame is rendered, None where there is no telling.

    now: Unix seconds, by the clock of whoever wrote the state, or one that agrees with it. Of a run
    that is not heard of there is none: it may have been killed.
    """
    left = state.total - state.done - state.failed
    if state.phase != "rendering" or left <= 0 or not state.timed:
        return None
    if state.is_silent(now):
        return None
    if state.queued:
        return _by_rate(state, left, now)
    if not state.begun:
        return None
    ages = [max(0.0, now - moment) for moment in state.begun]
    # Those that end first are the quick ones: what is still in work takes at least its age.
    each = max(state.frame_seconds, sum(ages) / len(ages))
    waiting = max(0, left - len(ages))
    rests = [_rest(age, state.frame_seconds) for age in ages]
    return _by_lanes([min(rest, each) for rest in rests] if waiting else rests, each, waiting)


def forecast_left(state: JobState, now: float, frames: Sequence[int]) -> Forecast | None:
    """The same by the frames' own trend, and how sure that is; None where there is no telling.

    frames: all of the job's, ascending.
    """
    by_average = seconds_left(state, now)
    took = dict(state.sampled)
    left = _without(frames, (*state.rendered, *state.failed_frames))
    expected = forecast(took, left)
    if by_average is None or expected is None or state.frame_seconds <= 0:
        return None
    # by_average takes the frames that are left to be like the latest ones.
    return expected.scaled(by_average / (state.frame_seconds * len(left)))


def left_words(state: JobState, now: float, frames: Sequence[int]) -> str:
    """E.g. ``"about 3 min 10 s left (2 min 40 s to 4 min 05 s)"``; "" where there is no telling."""
    left = forecast_left(state, now, frames)
    seconds = seconds_left(state, now) if left is None else left.seconds
    if seconds is None:
        return ""
    words = f"about {duration(seconds)} left"
    if left is None or left.high < _SURE * left.low:
        return words
    return f"{words} ({duration(left.low)} to {duration(left.high)})"


def _without(frames: Sequence[int], runs: Sequence[tuple[int, int]]) -> list[int]:
    """The frames, ascending, that lie in none of the runs of first and last."""
    inside: set[int] = set()
    for first, last in runs:
        inside.update(frames[bisect_left(frames, first) : bisect_right(frames, last)])
    return [frame for frame in frames if frame not in inside]


def _by_lanes(rests: list[float], each: float, waiting: int) -> float:
    """When the last of some lanes is done that take the waiting frames one by one.

    rests: how long each lane will be at the frame that it has, no longer than ``each`` where frames
    wait. Whole rounds first; the frames that remain go to the lanes that are done first.
    """
    rests = sorted(rests)
    rounds, more = divmod(waiting, len(rests))
    end = rests[-1] + rounds * each
    return max(end, rests[more - 1] + (rounds + 1) * each) if more else end


def _rest(age: float, each: float) -> float:
    """What a frame will still take. One that is overdue has as long to go as it is late."""
    return max(abs(each - age), _LEAST_REST * each)


def _by_rate(state: JobState, left: int, now: float) -> float | None:
    """As fast as it went since the first frame was done."""
    took = state.last_end - state.first_end
    if state.timed < _FEWEST_FOR_A_RATE or took <= 0:
        return None
    each = took / (state.timed - 1)
    return max(each, left * each - max(0.0, now - state.last_end))
