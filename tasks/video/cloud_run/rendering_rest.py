"""RenderingRest: when a job's last frame will be there, as far as those that are there tell.

SegmentWaves tells it what frames took, and StartAhead asks. Arithmetic and memory only: every time
is a second of the event loop's clock and passed in.
"""

from __future__ import annotations

import threading
from collections import deque

# Neighbours take alike long, and frames come about in their order.
_RECENT_FRAMES = 32


class RenderingRest:
    """Its methods may be called by any thread."""

    def __init__(self) -> None:
        self._seconds: deque[float] = deque(maxlen=_RECENT_FRAMES)
        self._last = 0.0
        self._telling = threading.Lock()

    def frame_took(self, seconds: float, now: float) -> None:
        """A frame is there, whose rendering took so long."""
        with self._telling:
            self._seconds.append(seconds)
            self._last = now

    def seconds_left(self, missing: int, at_once: float, now: float) -> float | None:
        """Until the last of the missing frames is there; None where nothing tells.

        at_once: how many of them are rendered at a time. Where fewer are missing, some of those in
        work are done. Where many come at once, what has passed since is off their time.
        """
        with self._telling:
            if not self._seconds or at_once <= 0:
                return None
            mean = sum(self._seconds) / len(self._seconds)
            return max(0.0, mean * missing / at_once - (now - self._last))
