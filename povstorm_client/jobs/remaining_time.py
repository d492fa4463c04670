"""How long the rest of a job's rendering will take; the progress bar and ``povstorm status`` ask.

Arithmetic on a JobState alone. Nothing is said before there is ground for it: until this run has
rendered a frame itself, nobody knows what one takes.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from povstorm_client.jobs.forecast import Forecast, forecast
from povstorm_client.jobs.state import JobState

# Where frames wait for containers, their rate is all that tells; so many make one.
_FEWEST_FOR_A_RATE = 5
# A frame that should be done is not, by this part of what a frame takes.
_LEAST_REST = 0.05
# JobState.frame_seconds is the mean of so many.
_LATEST = 50


def seconds_left(state: JobState, now: float) -> float | None:
    """Seconds until the last frame is rendered, None where there is no telling.

    now: Unix seconds, by the clock of whoever wrote the state, or one that agrees with it.
    """
    left = state.total - state.done - state.failed
    if state.phase != "rendering" or left <= 0 or not state.timed:
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


def forecast_left(
    state: JobState, now: float, took: Mapping[int, float], left: Sequence[int]
) -> Forecast | None:
    """The same with its uncertainty, and by the frames' own trend; None where there is no telling.

    took: frame → seconds of those that this run rendered, any sample of them; left: the frames that
    are not done.
    """
    by_average = seconds_left(state, now)
    expected = forecast(took, left)
    if by_average is None or expected is None:
        return None
    # by_average takes the frames that are left to be like the latest ones.
    latest = statistics.fmean(list(took.values())[-_LATEST:])
    if latest <= 0:
        return None
    return expected.scaled(by_average / (latest * len(left)))


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
