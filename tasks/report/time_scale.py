"""TimeScale: the time axis of the timeline, on which long pauses take little room.

A job that failed in the evening and was run again in the morning would be two dots otherwise.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

# A pause is cut short if it is longer than this part of the time in which anything was done.
_LONG = 0.35
# What is left of it.
_CUT = 0.05


@dataclass(frozen=True)
class Pause:
    """A pause that was cut short: where it is on the axis, and its true length in seconds."""

    position: float
    seconds: float


class TimeScale:
    """Unix seconds → seconds on the axis, which begins at 0 and ends at ``length``."""

    def __init__(self, busy: Iterable[tuple[float, float]]) -> None:
        """busy: when something was done, as (start, end) in any order; at least one."""
        stretches = _merged(busy)
        worked = sum(end - start for start, end in stretches) or 1.0
        self.pauses: list[Pause] = []
        # Where each stretch begins: in Unix seconds, and on the axis.
        self._starts: list[float] = []
        self._positions: list[float] = []
        position, last_end = 0.0, stretches[0][0]
        for start, end in stretches:
            gap = start - last_end
            if gap > _LONG * worked:
                cut = _CUT * worked
                self.pauses.append(Pause(position + cut / 2, gap))
                position += cut
            else:
                position += gap
            self._starts.append(start)
            self._positions.append(position)
            position, last_end = position + end - start, end
        self.length = position or 1.0

    def __call__(self, moment: float) -> float:
        """The place of a moment on the axis; none is beyond the next stretch's beginning."""
        index = max(0, bisect_right(self._starts, moment) - 1)
        place = self._positions[index] + max(0.0, moment - self._starts[index])
        following = index + 1 < len(self._positions)
        return min(place, self._positions[index + 1] if following else self.length)


def _merged(busy: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    merged: list[tuple[float, float]] = []
    # Start and end may be of two clocks, which differ.
    for start, end in sorted((start, max(start, end)) for start, end in busy):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged
