"""What POV-Ray's own animation loop would have taken for frames that povstorm rendered.

summarize.py asks, since that loop is what people would use otherwise. It is an estimate;
``python -m benchmarks.own_loop`` runs the loop beside it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

# POV-Ray 3.7 waits so long between two frames of its loop, and at its start and end, whatever it
# renders (measured).
_BETWEEN_FRAMES = 0.22
_START_AND_END = 0.5


class Taken(Protocol):
    """What a frame took in a process of its own, with one thread; seconds."""

    @property
    def cpu_seconds(self) -> float | None:
        """User and system time."""

    @property
    def parse_seconds(self) -> float | None:
        """Parsing the scene."""

    @property
    def bounding_seconds(self) -> float | None:
        """Building the bounding hierarchy."""

    @property
    def photon_seconds(self) -> float | None:
        """Shooting photons."""

    @property
    def radiosity_seconds(self) -> float | None:
        """Radiosity pretrace."""

    @property
    def trace_seconds(self) -> float | None:
        """Tracing the picture."""


def own_loop_seconds(frames: Iterable[Taken], cores: float) -> float | None:
    """Seconds of ``povray FILE.ini +WTcores`` for the frames; None for no frames.

    Parsing and bounding use one core, all else is taken to fill all cores, which flatters the loop.
    How a frame's CPU time is shared between the two is told by POV-Ray's own times of the phases:
    beside other processes all of them are longer, in about the same ratio.
    """
    each = [_frame_seconds(frame, max(1.0, cores)) for frame in frames]
    return sum(each) + own_loop_waits(len(each)) if each else None


def own_loop_waits(frames: int) -> float:
    """The seconds of own_loop_seconds in which the loop does nothing, for so many frames."""
    return _START_AND_END + frames * _BETWEEN_FRAMES


def _frame_seconds(frame: Taken, cores: float) -> float:
    alone = (frame.parse_seconds or 0.0) + (frame.bounding_seconds or 0.0)
    shared = (
        (frame.photon_seconds or 0.0)
        + (frame.radiosity_seconds or 0.0)
        + (frame.trace_seconds or 0.0)
    )
    part = alone / (alone + shared) if alone + shared > 0 else 0.0
    cpu = frame.cpu_seconds or 0.0
    return cpu * part + cpu * (1 - part) / cores
