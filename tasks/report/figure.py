"""Figure: a matplotlib figure as SVG that takes its colours and its font from the page.

The plots draw in roles, such as "failed"; the page's style sheet says what colour that is, so that
one SVG is right in light and in dark. matplotlib is imported here and in the plots only.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree as ET

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure as MatplotlibFigure
from matplotlib.patches import PathPatch
from matplotlib.path import Path

# A colour that stands for a role until the SVG is written: "#0b00" and two digits.
_ROLES = ("text", "grid", "rendered", "cached", "retried", "lost", "failed", "wave")
_SVG = "http://www.w3.org/2000/svg"
_XLINK = "http://www.w3.org/1999/xlink"
_SETTINGS: Any = {
    "svg.fonttype": "none",  # text, in the page's font
    "path.simplify": False,  # it would join marks that are close
    "text.parse_math": False,  # a host's name may have a "$" in it
    "font.family": "sans-serif",
    "font.size": 12,
    "axes.unicode_minus": True,
}


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
    """A figure of so many CSS pixels, with one pair of axes inside of margins."""

    def __init__(
        self,
        width: float,
        height: float,
        *,
        left: float = 52,
        top: float = 12,
        right: float = 12,
        bottom: float = 38,
    ) -> None:
        self._size = (width, height)
        self._box = (left, top, width - right, height - bottom)
        self.figure = MatplotlibFigure(figsize=(width / 72, height / 72), dpi=72)
        self.figure.patch.set_visible(False)
        self.axes: Axes = self.figure.add_axes(
            (
                left / width,
                bottom / height,
                (width - left - right) / width,
                (height - top - bottom) / height,
            )
        )
        self.axes.patch.set_visible(False)
        self.axes.set_axisbelow(True)
        for spine in self.axes.spines.values():
            spine.set_visible(False)
        self.axes.tick_params(which="both", length=0, pad=6, colors=role("text"), labelsize=12)
        self.axes.margins(0)

    def bars(self, bars: Iterable[tuple[float, float, float, float]], colour: str) -> None:
        """Filled rectangles (left, bottom, right, top) in one path: small for thousands of them."""
        vertices: list[tuple[float, float]] = []
        codes: list[Any] = []
        for left, bottom, right, top in bars:
            vertices += [(left, bottom), (left, top), (right, top), (right, bottom), (0, 0)]
            codes += [Path.MOVETO, *[Path.LINETO] * 3, Path.CLOSEPOLY]
        if vertices:
            path = Path(vertices, codes)
            self.axes.add_patch(PathPatch(path, facecolor=role(colour), edgecolor="none", lw=0))

    def crosses(self, places: Sequence[tuple[float, float]], colour: str, size: float = 7) -> None:
        """A cross at each place, of so many pixels."""
        if places:
            across, up = zip(*places, strict=True)
            self.axes.plot(
                *(across, up), "x", ms=size, mew=1.8, color=role(colour), clip_on=False, zorder=4
            )

    def plot(self) -> Plot:
        """Write it."""
        target = io.StringIO()
        with mpl.rc_context({**_SETTINGS, "svg.hashsalt": repr(self._size)}):
            self.figure.savefig(target, format="svg", metadata={"Date": None}, transparent=True)
        return Plot(_themed(target.getvalue()), *self._size, *self._box)


def role(name: str) -> str:
    """The colour to draw in, for the page's style sheet to choose."""
    return f"#0b00{_ROLES.index(name):02x}"


def _themed(text: str) -> str:
    ET.register_namespace("", _SVG)
    ET.register_namespace("xlink", _XLINK)
    root = ET.fromstring(text)  # noqa: S314 - matplotlib's own
    size = root.get("viewBox", "").split()
    root.attrib.pop("width", None)
    root.attrib.pop("height", None)
    root.attrib.pop("version", None)
    root.set("viewBox", " ".join(size))
    root.set("aria-hidden", "true")
    for parent in list(root.iter()):
        for child in list(parent):
            # Its style would be the whole page's.
            if child.tag in {f"{{{_SVG}}}metadata", f"{{{_SVG}}}style"}:
                parent.remove(child)
    for element in root.iter():
        if element.tag == f"{{{_SVG}}}g":
            # The same in every figure, and so not unique in the page.
            element.attrib.pop("id", None)
        for name in ("d", "x", "y", "width", "height", "transform"):
            if name in element.attrib:
                element.set(name, _rounded(element.attrib[name]))
        if "style" in element.attrib:
            element.set("style", _style(element.attrib["style"]))
    return ET.tostring(root, encoding="unicode")


def _rounded(numbers: str) -> str:
    short = re.sub(r"-?\d+\.\d+", lambda number: f"{float(number[0]):.1f}", numbers)
    return " ".join(short.replace(".0 ", " ").split())


def _style(style: str) -> str:
    style = re.sub(r"font: ([\d.]+px)[^;]*", r"font-size: \1", style)
    return re.sub(r"#0b00([0-9a-f]{2})", lambda found: f"var(--{_ROLES[int(found[1], 16)]})", style)
