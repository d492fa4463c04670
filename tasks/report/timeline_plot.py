"""The timeline: who rendered what when, in lanes, or, of very many lanes, how many were at work."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.ticker import FuncFormatter, MaxNLocator, MultipleLocator

from povstorm_client.cloud_run.stored_plan import StoredWave
from povstorm_client.quantities import duration
from tasks.report.facts import Outcome, Span
from tasks.report.figure import Figure, Plot, role
from tasks.report.lanes import Bar, Lanes, lay_out
from tasks.report.time_scale import TimeScale

# More lanes than this are lines of a pixel or two: how many were at work says more.
_MOST_LANES = 120
# And more bars than this are none to be told apart, and megabytes.
_MOST_BARS = 3000
_MOST_CROSSES = 400
_LANE_PIXELS = (18.0, 3.0)
_HEIGHT_PIXELS = 380.0
_WAVE_PIXELS = 22.0
_CACHE_PIXELS = 16.0
_DRAWN: tuple[Outcome, ...] = ("rendered", "retried", "lost", "failed")
# What is hovered over is found by whole numbers of this part of the axis.
HOVER_STEPS = 10_000


@dataclass(frozen=True)
class Timeline:
    """All that the timeline shows, before it is drawn.

    cached: the moments at which frames came from the cache.
    """

    scale: TimeScale
    lanes: Lanes
    cached: tuple[Span, ...]
    waves: tuple[StoredWave, ...]

    @property
    def in_lanes(self) -> bool:
        """Whether each host has its lanes; else the number at work is shown."""
        return self.lanes.count <= _MOST_LANES and len(self.lanes.bars) <= _MOST_BARS

    @property
    def hover(self) -> list[list[int]]:
        """Each bar as [lane, from, to, its first frame, attempt, outcome, number of frames]."""
        if not self.in_lanes:
            return []
        steps = HOVER_STEPS / self.scale.length
        return [
            [
                bar.lane,
                int(self.scale(bar.span.started) * steps),
                int(self.scale(bar.span.ended) * steps),
                bar.span.frame,
                bar.span.attempt,
                _DRAWN.index(bar.span.outcome),
                len(bar.frames),
            ]
            for bar in self.lanes.bars
        ]


def timeline(spans: Sequence[Span], waves: Sequence[StoredWave]) -> Timeline | None:
    """The timeline of a job; None if nothing is known of when anything was done."""
    busy = [(span.started, span.ended) for span in spans]
    busy += [(wave.submitted, wave.completed or wave.submitted) for wave in waves]
    if not busy:
        return None
    cached = tuple(span for span in spans if span.outcome == "cached")
    return Timeline(TimeScale(busy), lay_out(spans), cached, tuple(waves))


def timeline_plot(shown: Timeline, width: float) -> Plot:
    """Draw it, so many CSS pixels wide."""
    above = _WAVE_PIXELS * bool(shown.waves) + _CACHE_PIXELS * bool(shown.cached)
    several = len(shown.lanes.hosts) > 1
    if shown.in_lanes:
        lane = min(_LANE_PIXELS[0], _HEIGHT_PIXELS / max(1, shown.lanes.count))
        lane = max(_LANE_PIXELS[1], lane)
        inner = max(1, shown.lanes.count) * lane
    else:
        inner = 200.0
    # Names of hosts have no room on a phone.
    left = 132.0 if several and shown.in_lanes and width > 600 else 12.0
    if not shown.in_lanes:
        left = 46.0
    figure = Figure(width, inner + above + 50, left=left, top=12 + above, right=14)
    axes = figure.axes
    axes.set_xlim(0, shown.scale.length)
    step = _tick_step(shown.scale.length, 9 if width > 600 else 4)
    axes.xaxis.set_major_locator(MultipleLocator(step))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _tick(shown.scale, value)))
    axes.grid(axis="x", color=role("grid"), linewidth=1)
    if shown.in_lanes:
        _draw_lanes(figure, shown, width, inner)
        if several and width > 600:
            _name_hosts(figure, shown, inner)
        else:
            axes.set_yticks([])
    else:
        _draw_numbers(figure, shown)
    _draw_pauses(figure, shown)
    pixels = 1 / inner
    if shown.cached:
        _draw_cached(figure, shown, 1 + (_CACHE_PIXELS / 2 + 2) * pixels, width)
    if shown.waves:
        height = 1 + (above - _WAVE_PIXELS / 2 + 4) * pixels
        _draw_waves(figure, shown, height, width)
    return figure.plot()


def _tick_step(length: float, most: int) -> float:
    """The distance of ticks that people count in: seconds, minutes, hours, days."""
    hour, day = 3600, 86_400
    steps = [10.0**power * factor for power in (-3, -2, -1, 0) for factor in (1, 2, 5)]
    steps += [10, 15, 30, 60, 120, 300, 600, 1200, 1800, hour, 2 * hour, 4 * hour, 12 * hour]
    return next(
        (step for step in steps if length / step <= most), day * (1 + length // day // most)
    )


def _tick(scale: TimeScale, value: float) -> str:
    if value > 0 and any(pause.position <= value for pause in scale.pauses):
        return ""  # after a pause, the axis no longer tells the time since the beginning
    if value < 60:
        return f"{round(value, 3):g} s"
    return duration(value).removesuffix(" 00 s").removesuffix(" 00 min")


def _draw_lanes(figure: Figure, shown: Timeline, width: float, inner: float) -> None:
    axes = figure.axes
    count = max(1, shown.lanes.count)
    axes.set_ylim(count, 0)
    # A gap between lanes and between neighbours, where there is room for one.
    gap = 0.12 if inner / count > 6 else 0.0
    seam = shown.scale.length / width
    for outcome in _DRAWN:
        bars = [bar for bar in shown.lanes.bars if bar.span.outcome == outcome]
        figure.bars(
            (
                (start, bar.lane + gap, max(end - seam, start + seam), bar.lane + 1 - gap)
                for bar in bars
                for start, end in [_ends(shown, bar)]
            ),
            outcome,
        )
        if outcome != "rendered" and len(bars) < _MOST_CROSSES:
            size = min(8.0, 0.6 * inner / count)
            figure.crosses([(_ends(shown, bar)[1], bar.lane + 0.5) for bar in bars], outcome, size)


def _ends(shown: Timeline, bar: Bar) -> tuple[float, float]:
    return shown.scale(bar.span.started), shown.scale(bar.span.ended)


def _name_hosts(figure: Figure, shown: Timeline, inner: float) -> None:
    """Name hosts at the middle of their lanes, as many as there is room for."""
    axes = figure.axes
    step = max(1, -(-len(shown.lanes.hosts) * 15 // max(1, int(inner))))
    named = shown.lanes.hosts[::step]
    axes.set_yticks(
        [host.first_lane + host.lanes / 2 for host in named],
        labels=[_short(host.name) for host in named],
    )
    axes.tick_params(axis="y", labelsize=11)


def _short(host: str) -> str:
    """The end of a name tells hosts apart: ``render-512m-x7k2q/task-3``."""
    printable = "".join(letter if letter.isprintable() else "?" for letter in host) or "?"
    return printable if len(printable) <= 18 else f"…{printable[-17:]}"


def _draw_numbers(figure: Figure, shown: Timeline) -> None:
    """How many were at work over time, stacked by what became of it; a cross at each failure."""
    axes = figure.axes
    edges = np.linspace(0, shown.scale.length, 401)
    moments = (edges[:-1] + edges[1:]) / 2
    low = np.zeros(len(moments))
    failures: list[tuple[float, Outcome]] = []
    for outcome in _DRAWN:
        ends = [_ends(shown, bar) for bar in shown.lanes.bars if bar.span.outcome == outcome]
        if not ends:
            continue
        started, ended = (np.sort(np.array(each)) for each in zip(*ends, strict=True))
        at_work = np.searchsorted(started, moments) - np.searchsorted(ended, moments)
        axes.stairs(low + at_work, edges, baseline=low, fill=True, color=role(outcome), lw=0)
        low = low + at_work
        if outcome != "rendered":
            failures += [(end, outcome) for _, end in ends[:_MOST_CROSSES]]
    top = float(low.max()) * 1.12 or 1.0
    axes.set_ylim(0, top)
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 5, 10]))
    for end, outcome in failures:
        figure.crosses([(end, 0.96 * top)], outcome)


def _draw_pauses(figure: Figure, shown: Timeline) -> None:
    for pause in shown.scale.pauses:
        figure.axes.axvline(pause.position, color=role("text"), lw=1, ls=(0, (2, 4)))
        figure.axes.annotate(
            f"{duration(pause.seconds)} later",
            (pause.position, 0),
            xycoords=("data", "axes fraction"),
            xytext=(0, -21),
            textcoords="offset pixels",
            ha="center",
            va="top",
            color=role("text"),
            fontsize=11,
            annotation_clip=False,
        )


def _draw_cached(figure: Figure, shown: Timeline, height: float, width: float) -> None:
    """A tick for each frame that came from the cache; those within a pixel are one."""
    places = {int(shown.scale(span.started) / shown.scale.length * width) for span in shown.cached}
    figure.axes.plot(
        [place * shown.scale.length / width for place in sorted(places)],
        [height] * len(places),
        "|",
        ms=10,
        mew=2,
        color=role("cached"),
        transform=figure.axes.get_xaxis_transform(),
        clip_on=False,
    )


def _draw_waves(figure: Figure, shown: Timeline, height: float, width: float) -> None:
    """A bracket over each wave, with its size where there is room."""
    axes = figure.axes
    end_of_text = -1.0
    for wave in shown.waves:
        start = shown.scale(wave.submitted)
        end = shown.scale(wave.completed) if wave.completed else shown.scale.length
        axes.plot(
            [start, end],
            [height, height],
            color=role("wave"),
            lw=2,
            transform=axes.get_xaxis_transform(),
            clip_on=False,
        )
        axes.axvline(start, color=role("wave"), lw=1, ls=(0, (3, 3)), zorder=0.5)
        for text in _wave_texts(wave):
            needed = len(text) * 6.4 * shown.scale.length / width
            if start >= end_of_text and start + needed < shown.scale.length:
                axes.annotate(
                    text,
                    (start, height),
                    xycoords=axes.get_xaxis_transform(),
                    xytext=(0, 3),
                    textcoords="offset pixels",
                    va="bottom",
                    color=role("text"),
                    fontsize=11,
                    annotation_clip=False,
                )
                end_of_text = start + needed
                break


def _wave_texts(wave: StoredWave) -> Iterator[str]:
    yield f"{wave.frames} frames, {wave.tasks} tasks"
    yield f"{wave.frames} frames"
