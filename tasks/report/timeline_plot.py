"""The timeline: who rendered what when, in lanes, or, of very many lanes, how many were at work."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from povstorm_client.cloud_run.stored_plan import StoredWave
from povstorm_client.quantities import counted, duration
from tasks.report.facts import Outcome, Span
from tasks.report.figure import Figure, Plot, even_ticks, seconds_words
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
# Of the names of hosts.
_NAME_SIZE = 11.0
# How many were at work is looked at in so many moments.
_MOMENTS = 400
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
    numbers = None if shown.in_lanes else _Numbers.of(shown)
    figure = Figure(
        width,
        inner + above + 50,
        across=(0, shown.scale.length),
        up=(max(1, shown.lanes.count), 0) if numbers is None else (0, numbers.top),
        left=left,
        top=12 + above,
        right=14,
    )
    step = _tick_step(shown.scale.length, 9 if width > 600 else 4)
    times = [number * step for number in range(int(shown.scale.length / step + 1e-9) + 1)]
    figure.ticks_below(((value, _tick(shown.scale, value, step)) for value in times), grid=True)
    if shown.waves:
        _draw_waves(figure, shown, figure.top - (above - _WAVE_PIXELS / 2 + 4))
    if numbers is None:
        _draw_lanes(figure, shown, width, inner)
        if several and width > 600:
            _name_hosts(figure, shown, inner)
    else:
        numbers.draw(figure)
    _draw_pauses(figure, shown)
    if shown.cached:
        # A tick for each frame that came from the cache; those within a pixel are one.
        places = {int(figure.x(shown.scale(span.started))) for span in shown.cached}
        figure.marks(sorted(places), figure.top - (_CACHE_PIXELS / 2 + 2), "cached")
    return figure.plot()


def _tick_step(length: float, most: int) -> float:
    """The distance of ticks that people count in: seconds, minutes, hours, days."""
    hour, day = 3600, 86_400
    steps = [10.0**power * factor for power in (-3, -2, -1, 0) for factor in (1, 2, 5)]
    steps += [10, 15, 30, 60, 120, 300, 600, 1200, 1800, hour, 2 * hour, 4 * hour, 12 * hour]
    return next(
        (step for step in steps if length / step <= most), day * (1 + length // day // most)
    )


def _tick(scale: TimeScale, value: float, step: float) -> str:
    if value > 0 and any(pause.position <= value for pause in scale.pauses):
        return ""  # after a pause, the axis no longer tells the time since the beginning
    if value < 60:
        return seconds_words(value, step)
    return duration(value).removesuffix(" 00 s").removesuffix(" 00 min")


def _draw_lanes(figure: Figure, shown: Timeline, width: float, inner: float) -> None:
    count = max(1, shown.lanes.count)
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
    step = max(1, -(-len(shown.lanes.hosts) * 15 // max(1, int(inner))))
    names = [
        (host.first_lane + host.lanes / 2, _short(host.name)) for host in shown.lanes.hosts[::step]
    ]
    figure.ticks_beside(names, size=_NAME_SIZE)


def _short(host: str) -> str:
    """The end of a name tells hosts apart: ``render-512m-x7k2q/task-3``."""
    printable = "".join(letter if letter.isprintable() else "?" for letter in host) or "?"
    return printable if len(printable) <= 18 else f"…{printable[-17:]}"


@dataclass(frozen=True)
class _Numbers:
    """How many were at work over time, by what became of it, and when something failed.

    edges: of the stretches that are told apart, one more than there are numbers for each outcome.
    """

    edges: list[float]
    at_work: dict[Outcome, list[int]]
    failures: list[tuple[float, Outcome]]

    @classmethod
    def of(cls, shown: Timeline) -> _Numbers:
        """Of a job."""
        edges = [shown.scale.length * number / _MOMENTS for number in range(_MOMENTS + 1)]
        moments = [(start + end) / 2 for start, end in pairwise(edges)]
        at_work: dict[Outcome, list[int]] = {}
        failures: list[tuple[float, Outcome]] = []
        for outcome in _DRAWN:
            ends = [_ends(shown, bar) for bar in shown.lanes.bars if bar.span.outcome == outcome]
            if not ends:
                continue
            started, ended = (sorted(each) for each in zip(*ends, strict=True))
            at_work[outcome] = [
                bisect_left(started, moment) - bisect_left(ended, moment) for moment in moments
            ]
            if outcome != "rendered":
                failures += [(end, outcome) for _, end in ends[:_MOST_CROSSES]]
        return cls(edges, at_work, failures)

    @property
    def top(self) -> float:
        """The end of an axis on which all of them have room."""
        return max(map(sum, zip(*self.at_work.values(), strict=True)), default=0) * 1.12 or 1.0

    def draw(self, figure: Figure) -> None:
        """Stacked; a cross at each failure."""
        counts = even_ticks(0, self.top, 5, whole=True)
        figure.ticks_beside((count, f"{count:.0f}") for count in counts)
        low = [0] * _MOMENTS
        for outcome, numbers in self.at_work.items():
            high = [below + number for below, number in zip(low, numbers, strict=True)]
            figure.area(self._stairs(low), self._stairs(high), outcome, 1)
            low = high
        for end, outcome in self.failures:
            figure.crosses([(end, 0.96 * self.top)], outcome)

    def _stairs(self, heights: Sequence[int]) -> list[tuple[float, float]]:
        """The corners of steps so high; where two are the same there is none."""
        corners: list[tuple[float, float]] = []
        for number, height in enumerate(heights):
            if not corners or corners[-1][1] != height:
                if corners:
                    corners.append((self.edges[number], corners[-1][1]))
                corners.append((self.edges[number], float(height)))
        return [*corners, (self.edges[-1], corners[-1][1])]


def _draw_pauses(figure: Figure, shown: Timeline) -> None:
    for pause in shown.scale.pauses:
        x = figure.x(pause.position)
        figure.line([(x, figure.top), (x, figure.bottom)], "text", 1, "2 4")
        figure.words_below(x, f"{duration(pause.seconds)} later", anchor="middle", size=11)


def _draw_waves(figure: Figure, shown: Timeline, y: float) -> None:
    """A bracket over each wave, at y, with its size where there is room."""
    end_of_text = -1.0
    for wave in shown.waves:
        start = figure.x(shown.scale(wave.submitted))
        end = figure.x(shown.scale(wave.completed)) if wave.completed else figure.right
        figure.line([(start, figure.top), (start, figure.bottom)], "wave", 1, "3 3")
        figure.line([(start, y), (end, y)], "wave", 2)
        for text in _wave_texts(wave):
            needed = len(text) * 6.4
            if start >= end_of_text and start + needed < figure.right:
                figure.text(start, y - 4, text, size=11)
                end_of_text = start + needed
                break


def _wave_texts(wave: StoredWave) -> Iterator[str]:
    yield f"{counted(wave.frames, 'frame')}, {counted(wave.tasks, 'task')}"
    yield counted(wave.frames, "frame")
