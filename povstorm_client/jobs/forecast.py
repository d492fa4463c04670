"""How long a job's frames that are left will take, and how sure that is, from what each took.

remaining_time.py asks, with the times of the frames of a JobState; and `render --preview`.
"""

from __future__ import annotations

import math
import statistics
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# Neighbours in an animation take about as long as each other: so many tell what the next ones do.
_NEIGHBOURS = 24
# A trend is not followed further than to these shares of the neighbours' median.
_LEAST_SHARE, _MOST_SHARE = 0.3, 3.0
# 80 % of a normal distribution lie within so many standard deviations.
SIGMAS = 1.2816
# A trend fades beyond its frames, within this part of their number (time constant).
_FADING = 0.5
# What a backtest over fewer frames than are left says of those, at most: times the root of this.
_FURTHEST = 4.0
# How far frames drift that are as far ahead as those known reach back, where nothing tells.
_USUAL_DRIFT = 0.22
# However alike all frames are: nobody knows what else the machine has to do.
_LEAST_SIGMA = 0.03
_UNKNOWN_SIGMA = 0.7
# Backtests: the part of the frames before is used to predict those after.
_CUTS = (0.25, 0.4, 0.55, 0.7, 0.85)


@dataclass(frozen=True)
class Forecast:
    """Seconds that are expected; the truth lies between low and high four times out of five."""

    seconds: float
    low: float
    high: float

    def scaled(self, factor: float) -> Forecast:
        """The same for so many times as much."""
        return Forecast(self.seconds * factor, self.low * factor, self.high * factor)


def forecast(took: Mapping[int, float], left: Sequence[int]) -> Forecast | None:
    """The seconds of the frames that are left, in sum, as if one came after the other.

    took: frame → seconds of those that were rendered; left: frames. None if nothing was timed.

    Between two frames that were timed a frame takes what lies between theirs; before and after all
    of them the neighbours' trend goes on. How far that may be wrong is what it would have been
    wrong by before: the earlier part of the frames predicts the later.
    """
    if not took or not left:
        return None
    known = sorted(took)
    seconds = math.fsum(_predicted(took, known, left))
    sigma = _sigma(took, known, left)
    spread = math.exp(SIGMAS * sigma)
    return Forecast(seconds, seconds / spread, seconds * spread)


def _predicted(
    took: Mapping[int, float], known: Sequence[int], frames: Sequence[int]
) -> list[float]:
    first, last = _Trend.at(took, known[:_NEIGHBOURS]), _Trend.at(took, known[-_NEIGHBOURS:])

    def one(frame: int) -> float:
        place = bisect_left(known, frame)
        if place == 0:
            return first.seconds(frame)
        if place == len(known):
            return last.seconds(frame)
        before, after = known[place - 1], known[place]
        share = (frame - before) / (after - before)
        return (1 - share) * took[before] + share * took[after]

    return [one(frame) for frame in frames]


@dataclass(frozen=True)
class _Trend:
    """A line through some frames' seconds that few odd ones among them do not move.

    middle: of the frames, of which those at the ends are reach away; slope: seconds a frame.
    """

    middle: float
    median: float
    slope: float
    reach: float

    @classmethod
    def at(cls, took: Mapping[int, float], frames: Sequence[int]) -> _Trend:
        """Theil and Sen's: the median of the slopes between two halves, and of the seconds."""
        median = statistics.median([took[frame] for frame in frames])
        half = len(frames) // 2
        slopes = [
            (took[late] - took[early]) / (late - early)
            for early, late in zip(frames[:half], frames[len(frames) - half :], strict=True)
        ]
        # Of a few frames the line would lead anywhere.
        slope = statistics.median(slopes) if len(frames) >= 6 else 0.0
        reach = (frames[-1] - frames[0]) / 2
        return cls((frames[0] + frames[-1]) / 2, median, slope, reach)

    def seconds(self, frame: int) -> float:
        away = frame - self.middle
        beyond = max(0.0, abs(away) - self.reach)
        fading = 2 * self.reach * _FADING
        faded = fading * (1 - math.exp(-beyond / fading)) if fading else 0.0
        line = self.median + self.slope * math.copysign(min(abs(away), self.reach) + faded, away)
        return min(max(line, _LEAST_SHARE * self.median), _MOST_SHARE * self.median)


def _sigma(took: Mapping[int, float], known: Sequence[int], left: Sequence[int]) -> float:
    """The standard deviation of the sum's logarithm."""
    count = len(known)
    if count < 4:
        return _UNKNOWN_SIGMA
    mean = math.fsum(took.values()) / count
    if mean <= 0:
        return _UNKNOWN_SIGMA
    variance = math.fsum((took[frame] - mean) ** 2 for frame in known) / count
    # Of each frame that is left by itself: much for the last few, nothing for thousands.
    alone = math.sqrt(variance) / mean / math.sqrt(len(left))
    if known[0] < left[len(left) // 2] < known[-1]:
        # Most lie between frames that are known.
        drift = math.sqrt(variance) / mean / math.sqrt(count)
    else:
        drift = _drift(took, known, len(left))
    return max(_LEAST_SIGMA, math.hypot(alone, drift))


def _drift(took: Mapping[int, float], known: Sequence[int], left: int) -> float:
    """How wrong the trend was about as many frames as are left, as far as so many are known."""
    errors = []
    for cut in _CUTS:
        before = max(2, round(cut * len(known)))
        after = known[before : before + left]
        if not after:
            continue
        truth = math.fsum(took[frame] for frame in after)
        guess = math.fsum(_predicted(took, known[:before], after))
        if truth > 0 and guess > 0:
            # The further ahead it has to look than it could be tried, the less that says.
            further = math.sqrt(min(_FURTHEST, max(1.0, left / len(after))))
            errors.append(math.log(guess / truth) * further)
    if not errors:
        return _UNKNOWN_SIGMA
    usual = _USUAL_DRIFT * math.sqrt(min(4.0, left / len(known)))
    seen = math.fsum(error**2 for error in errors) / len(errors)
    return min(_UNKNOWN_SIGMA, math.sqrt(seen + usual**2))
