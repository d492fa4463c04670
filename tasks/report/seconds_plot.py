"""The plot of render seconds by frame; build.py draws it wide and narrow."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from tasks.report.facts import FrameFacts
from tasks.report.figure import Figure, Plot, Role, even_ticks, logarithmic_ticks, seconds_words

# A bar narrower than this many pixels is none to be seen: then frames are taken together.
_LEAST_BAR = 2.5
# Pixels of a group of frames that is shown as one column.
_COLUMN = 3.0
# Beyond this, the slowest frame would leave nothing of the others on a linear scale.
_MUCH = 25
_LEFT, _RIGHT = 46.0, 12.0


def is_grouped(frames: Sequence[FrameFacts], width: float) -> bool:
    """Whether a plot so wide has no room for a bar of each frame."""
    return _pixels(frames, width) < _LEAST_BAR


def seconds_plot(frames: Sequence[FrameFacts], width: float) -> Plot:
    """Bars of wall seconds, with a line of CPU seconds; of many frames the least, median and most.

    frames: all of the job, at least one.
    """
    timed = [frame for frame in frames if frame.seconds is not None]
    most = max((frame.seconds or 0.0 for frame in timed), default=0.0) or 1.0
    median = statistics.median([frame.seconds or 0.0 for frame in timed]) if timed else most
    logarithmic = most > _MUCH * median > 0
    floor = 0.0
    if logarithmic:
        floor = 0.8 * min((frame.seconds for frame in timed if frame.seconds), default=median)
    top = most * (1.3 if logarithmic else 1.08)
    figure = Figure(
        width,
        260 if width > 600 else 220,
        across=(frames[0].frame - 0.5, frames[-1].frame + 0.5),
        up=(floor, top),
        logarithmic=logarithmic,
        left=_LEFT,
        right=_RIGHT,
    )
    if logarithmic:
        ticks = [(value, f"{value:g} s") for value in logarithmic_ticks(floor, top)]
    else:
        seconds = even_ticks(floor, top, 5)
        ticks = [(value, seconds_words(value, seconds[1] - seconds[0])) for value in seconds]
    figure.ticks_beside(ticks, grid=True)
    numbers = even_ticks(*figure.across, 10 if width > 600 else 5, whole=True)
    figure.ticks_below((value, f"{value:.0f}") for value in numbers)
    figure.words_below(figure.right, "frame", anchor="end")
    pixels = _pixels(frames, width)
    if is_grouped(frames, width):
        _draw_groups(figure, timed, math.ceil(_COLUMN / pixels))
    else:
        _draw_frames(figure, timed, floor, pixels)
    figure.crosses([(frame.frame, floor) for frame in frames if frame.state == "failed"], "failed")
    return figure.plot()


def _pixels(frames: Sequence[FrameFacts], width: float) -> float:
    """The room for one frame number, in pixels."""
    return (width - _LEFT - _RIGHT) / (frames[-1].frame - frames[0].frame + 1)


def _draw_frames(figure: Figure, timed: Sequence[FrameFacts], floor: float, pixels: float) -> None:
    half = 0.5 * max(0.5, 1 - 1.5 / pixels)
    half = min(half, 14 / pixels)
    states: tuple[Role, ...] = ("rendered", "cached")
    for state in states:
        figure.bars(
            (
                (frame.frame - half, floor, frame.frame + half, frame.seconds or 0.0)
                for frame in timed
                if frame.state == state
            ),
            state,
        )
    figure.bars(
        [
            (frame.frame - half, low, frame.frame + half, high)
            for frame in timed
            for low, high in [_mark(figure, frame.cpu_seconds or 0.0)]
        ],
        "text",
    )


def _mark(figure: Figure, seconds: float) -> tuple[float, float]:
    """The lower and upper end of a thin line at so many seconds."""
    if figure.logarithmic:
        return seconds * 0.985, seconds * 1.015
    thickness = 0.006 * (figure.up[1] - figure.up[0])
    return seconds - thickness, seconds + thickness


def _draw_groups(figure: Figure, timed: Sequence[FrameFacts], size: int) -> None:
    """The least to the most seconds of each ``size`` frames, and a line through the medians."""
    groups: dict[int, list[float]] = {}
    for frame in timed:
        groups.setdefault(frame.frame // size, []).append(frame.seconds or 0.0)
    columns = [((group + 0.5) * size, seconds) for group, seconds in groups.items()]
    figure.area(
        [(middle, min(seconds)) for middle, seconds in columns],
        [(middle, max(seconds)) for middle, seconds in columns],
        "rendered",
        0.25,
    )
    medians = [(middle, statistics.median(seconds)) for middle, seconds in columns]
    figure.curve(medians, "rendered", 1.6)
