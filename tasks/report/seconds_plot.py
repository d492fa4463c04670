"""The plot of render seconds by frame; build.py draws it wide and narrow."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from matplotlib.ticker import FuncFormatter, MaxNLocator

from tasks.report.facts import FrameFacts
from tasks.report.figure import Figure, Plot, role

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
    figure = Figure(width, 260 if width > 600 else 220, left=_LEFT, right=_RIGHT)
    first, last = frames[0].frame - 0.5, frames[-1].frame + 0.5
    timed = [frame for frame in frames if frame.seconds is not None]
    most = max((frame.seconds or 0.0 for frame in timed), default=0.0) or 1.0
    median = statistics.median([frame.seconds or 0.0 for frame in timed]) if timed else most
    logarithmic = most > _MUCH * median > 0
    axes = figure.axes
    axes.set_xlim(first, last)
    floor = 0.0
    if logarithmic:
        axes.set_yscale("log")
        floor = 0.8 * min((frame.seconds or median for frame in timed), default=median)
        axes.set_ylim(floor, most * 1.3)
    else:
        axes.set_ylim(0, most * 1.08)
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} s"))
    axes.yaxis.set_minor_formatter(FuncFormatter(lambda value, _: ""))
    axes.xaxis.set_major_locator(
        MaxNLocator(10 if width > 600 else 5, integer=True, steps=[1, 2, 5, 10])
    )
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.grid(axis="y", color=role("grid"), linewidth=1)
    axes.set_xlabel("frame", color=role("text"), fontsize=12, loc="right", labelpad=3)
    pixels = _pixels(frames, width)
    if is_grouped(frames, width):
        _draw_groups(figure, timed, math.ceil(_COLUMN / pixels))
    else:
        _draw_frames(figure, timed, floor, pixels)
    failed = [(frame.frame, floor) for frame in frames if frame.state == "failed"]
    figure.crosses(failed, "failed")
    return figure.plot()


def _pixels(frames: Sequence[FrameFacts], width: float) -> float:
    """The room for one frame number, in pixels."""
    return (width - _LEFT - _RIGHT) / (frames[-1].frame - frames[0].frame + 1)


def _draw_frames(figure: Figure, timed: Sequence[FrameFacts], floor: float, pixels: float) -> None:
    half = 0.5 * max(0.5, 1 - 1.5 / pixels)
    half = min(half, 14 / pixels)
    for state in ("rendered", "cached"):
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
    thickness = 0.006 * (figure.axes.get_ylim()[1] - figure.axes.get_ylim()[0])
    if figure.axes.get_yscale() == "log":
        return seconds * 0.985, seconds * 1.015
    return seconds - thickness, seconds + thickness


def _draw_groups(figure: Figure, timed: Sequence[FrameFacts], size: int) -> None:
    """The least to the most seconds of each ``size`` frames, and a line through the medians."""
    groups: dict[int, list[float]] = {}
    for frame in timed:
        groups.setdefault(frame.frame // size, []).append(frame.seconds or 0.0)
    middles = [(group + 0.5) * size for group in groups]
    axes = figure.axes
    axes.fill_between(
        middles,
        [min(seconds) for seconds in groups.values()],
        [max(seconds) for seconds in groups.values()],
        color=role("rendered"),
        alpha=0.25,
        linewidth=0,
    )
    axes.plot(
        middles,
        [statistics.median(seconds) for seconds in groups.values()],
        color=role("rendered"),
        linewidth=1.6,
    )
