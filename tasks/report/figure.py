"""Figure: a plot as SVG that takes its colours and its font from the page; the plots draw with it.

They draw in roles, such as "failed"; the page's style sheet says what colour that is, so that one
SVG is right in light and in dark. A plotting library's import and drawing take half a second of a
run that may have taken five (measured for matplotlib), and what it draws would have to be rewritten
for that; what two plots need is this.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal
from xml.etree import ElementTree as ET

_SVG = "http://www.w3.org/2000/svg"
Role = Literal["text", "grid", "rendered", "cached", "retried", "lost", "failed", "wave"]
Anchor = Literal["start", "middle", "end"]
Point = tuple[float, float]

# CSS pixels from the axes to the baseline of words: those of ticks below, and one line further.
_TICKS_BELOW, _WORDS_BELOW = 17.0, 33.0
_BESIDE = 6.0
# From the middle of a line of words to its baseline, as a part of the font's size.
_HALF_HEIGHT = 0.35


@dataclass(frozen=True)
class Plot:
    """A finished plot.

    svg: an element for a page. left, top, right, bottom: of its axes, in the SVG's own units.
    width, height: of all of it.
    """

    svg: str
    width: float
    height: float
    left: float
    top: float
    right: float
    bottom: float


class Figure:
    """A figure of so many CSS pixels, with one pair of axes inside of margins.

    across: the values at the left and the right end of the axes; up: those at the bottom and the
    top, of which the second may be the smaller. logarithmic: whether the vertical axis is; both of
    its ends are above 0 then.
    """

    def __init__(
        self,
        width: float,
        height: float,
        *,
        across: tuple[float, float],
        up: tuple[float, float],
        logarithmic: bool = False,
        left: float = 52,
        top: float = 12,
        right: float = 12,
        bottom: float = 38,
    ) -> None:
        self.across, self.up, self.logarithmic = across, up, logarithmic
        self.left, self.top = left, top
        self.right, self.bottom = width - right, height - bottom
        self._size = (width, height)
        self._root = ET.Element(
            "svg",
            {"xmlns": _SVG, "viewBox": f"0 0 {width:g} {height:g}", "aria-hidden": "true"},
        )

    def x(self, value: float) -> float:
        """Where a value of the horizontal axis is; none is outside of the axes."""
        low, high = self.across
        return self.left + _share(low, high, value) * (self.right - self.left)

    def y(self, value: float) -> float:
        """The same of the vertical axis."""
        low, high = self.up
        if self.logarithmic:
            value = max(value, min(self.up))
            low, high, value = math.log10(low), math.log10(high), math.log10(value)
        return self.bottom - _share(low, high, value) * (self.bottom - self.top)

    def ticks_below(self, ticks: Iterable[tuple[float, str]], *, grid: bool = False) -> None:
        """Words below the axes, each at its value; grid: with a line through them."""
        for value, words in ticks:
            if grid:
                self.line([(self.x(value), self.top), (self.x(value), self.bottom)], "grid", 1)
            self.text(self.x(value), self.bottom + _TICKS_BELOW, words, anchor="middle")

    def ticks_beside(
        self, ticks: Iterable[tuple[float, str]], *, grid: bool = False, size: float = 12
    ) -> None:
        """Words to the left of the axes, each at its value; grid: with a line through them."""
        for value, words in ticks:
            middle = self.y(value)
            if grid:
                self.line([(self.left, middle), (self.right, middle)], "grid", 1)
            baseline = middle + _HALF_HEIGHT * size
            self.text(self.left - _BESIDE, baseline, words, anchor="end", size=size)

    def words_below(self, x: float, words: str, *, anchor: Anchor, size: float = 12) -> None:
        """Words in the line below the ticks; x: in pixels."""
        self.text(x, self.bottom + _WORDS_BELOW, words, anchor=anchor, size=size)

    def text(
        self, x: float, y: float, words: str, *, anchor: Anchor = "start", size: float = 12
    ) -> None:
        """Words, from a place in pixels."""
        if words:
            style = f"fill: var(--text); font-size: {size:g}px; text-anchor: {anchor}"
            self._add("text", x=_number(x), y=_number(y), style=style).text = words

    def bars(self, bars: Iterable[tuple[float, float, float, float]], role: Role) -> None:
        """Filled rectangles (left, bottom, right, top) in one path: small for thousands of them."""
        places = (
            (_number(self.x(left)), _number(self.y(low)), self.x(right), self.y(high))
            for left, low, right, high in bars
        )
        self._path(
            "".join(f"M{x} {y}V{_number(y2)}H{_number(x2)}V{y}Z" for x, y, x2, y2 in places),
            f"fill: var(--{role})",
        )

    def area(self, lower: Sequence[Point], upper: Sequence[Point], role: Role, part: float) -> None:
        """What is between two lines, from left to right; part: how much of it is seen, up to 1."""
        around = [(self.x(x), self.y(y)) for x, y in [*upper, *reversed(lower)]]
        if around:
            self._path(f"{_line(around)}Z", f"fill: var(--{role}); fill-opacity: {part:g}")

    def curve(self, points: Sequence[Point], role: Role, width: float) -> None:
        """A line through values."""
        self.line([(self.x(x), self.y(y)) for x, y in points], role, width)

    def line(self, places: Sequence[Point], role: Role, width: float, dashes: str = "") -> None:
        """A line through places in pixels; dashes: as SVG has them."""
        if places:
            dashed = f"; stroke-dasharray: {dashes}" if dashes else ""
            style = f"fill: none; stroke: var(--{role}); stroke-width: {width:g}{dashed}"
            self._path(_line(places), style)

    def marks(self, places: Iterable[float], y: float, role: Role) -> None:
        """A short upright line at each place, about y; all in pixels."""
        self._path(
            "".join(f"M{_number(x)} {_number(y - 5)}v10" for x in places),
            f"stroke: var(--{role}); stroke-width: 2",
        )

    def crosses(self, values: Iterable[Point], role: Role, size: float = 7) -> None:
        """A cross at each pair of values, of so many pixels."""
        side = _number(size)
        places = [(self.x(x) - size / 2, self.y(y) - size / 2) for x, y in values]
        self._path(
            "".join(
                f"M{_number(x)} {_number(y)}l{side} {side}m-{side} 0l{side} -{side}"
                for x, y in places
            ),
            f"fill: none; stroke: var(--{role}); stroke-width: 1.8",
        )

    def plot(self) -> Plot:
        """Write it."""
        svg = ET.tostring(self._root, encoding="unicode")
        return Plot(svg, *self._size, self.left, self.top, self.right, self.bottom)

    def _path(self, path: str, style: str) -> None:
        if path:
            self._add("path", d=path, style=style)

    def _add(self, tag: str, **attributes: str) -> ET.Element:
        return ET.SubElement(self._root, tag, attributes)


def even_ticks(low: float, high: float, most: int, *, whole: bool = False) -> list[float]:
    """Values from low to high that people count in: 1, 2 or 5 of some power of ten apart.

    most: of the distances between them, so many fit in; whole: whole numbers only.
    """
    least = (high - low) / most or 1.0
    power = 10.0 ** math.floor(math.log10(least))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= least * (1 - 1e-9))
    step = max(step, 1.0) if whole else step
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def seconds_words(seconds: float, step: float) -> str:
    """A tick's words, with as many decimals as its neighbours, which are a step away, need."""
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return f"{seconds:.{decimals}f} s" if seconds else "0 s"


def logarithmic_ticks(low: float, high: float) -> list[float]:
    """Powers of ten from low to high; where that are few, twice and five times each as well."""
    powers = [10.0**power for power in range(*_powers(low, high))]
    tens = [power for power in powers if low <= power <= high]
    if len(tens) > 2:
        return tens
    return [power * by for power in powers for by in (1, 2, 5) if low <= power * by <= high]


def _powers(low: float, high: float) -> tuple[int, int]:
    return math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1


def _share(low: float, high: float, value: float) -> float:
    return min(1.0, max(0.0, (value - low) / (high - low)))


def _line(places: Iterable[Point]) -> str:
    return "M" + "L".join(f"{_number(x)} {_number(y)}" for x, y in places)


def _number(pixels: float) -> str:
    text = f"{pixels:.1f}"
    return text.removesuffix(".0")
