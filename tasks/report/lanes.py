"""Lanes: who did what when, laid out so that nothing overlaps; for the timeline.

A host that renders several frames at once has as many lanes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush

from tasks.report.facts import Span


@dataclass(frozen=True)
class Bar:
    """Spans in a lane, from 0 at the top: one, or all frames that one lost container had."""

    lane: int
    span: Span
    frames: tuple[int, ...]


@dataclass(frozen=True)
class Host:
    """A host's lanes: the first, and how many."""

    name: str
    first_lane: int
    lanes: int


@dataclass(frozen=True)
class Lanes:
    """Bars and hosts; hosts come in the order in which their executions began."""

    bars: tuple[Bar, ...]
    hosts: tuple[Host, ...]

    @property
    def count(self) -> int:
        """The number of lanes."""
        return sum(host.lanes for host in self.hosts)


def lay_out(spans: Sequence[Span]) -> Lanes:
    """Lay out all spans but those from the cache, which nobody worked on."""
    by_host: dict[str, list[tuple[Span, tuple[int, ...]]]] = defaultdict(list)
    for span, frames in _joined(span for span in spans if span.outcome != "cached"):
        by_host[span.host].append((span, frames))
    bars: list[Bar] = []
    hosts: list[Host] = []
    first = 0
    begun: dict[str, float] = {}
    for name, work in by_host.items():
        begun.setdefault(_execution(name), work[0][0].started)
    order = sorted(by_host, key=lambda name: (begun[_execution(name)], *_in_numbers(name)))
    for name in order:
        work = by_host[name]
        # Lanes by the moment at which they become free; of the free ones the topmost is taken.
        busy: list[tuple[float, int]] = []
        free: list[int] = []
        lanes = 0
        for span, frames in work:
            while busy and busy[0][0] <= span.started:
                heappush(free, heappop(busy)[1])
            if free:
                lane = heappop(free)
            else:
                lane, lanes = lanes, lanes + 1
            bars.append(Bar(first + lane, span, frames))
            heappush(busy, (span.ended, lane))
        hosts.append(Host(name, first, lanes))
        first += lanes
    return Lanes(tuple(bars), tuple(hosts))


def _execution(host: str) -> str:
    return host.rpartition("/")[0] or host


def _in_numbers(host: str) -> tuple[str, int]:
    """Orders task-2 before task-10."""
    name = host.rstrip("0123456789")
    return name, int(host[len(name) :] or 0)


def _joined(spans: Iterable[Span]) -> list[tuple[Span, tuple[int, ...]]]:
    """Spans by start; the frames that were lost with one container are one entry."""
    joined: dict[tuple[object, ...], tuple[Span, list[int]]] = {}
    for number, span in enumerate(sorted(spans, key=lambda span: span.started)):
        lost = span.outcome == "lost"
        key = (span.host, span.started, span.ended) if lost else (number,)
        joined.setdefault(key, (span, []))[1].append(span.frame)
    return [(span, tuple(sorted(frames))) for span, frames in joined.values()]
