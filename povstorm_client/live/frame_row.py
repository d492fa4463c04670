"""FrameRow: what a page shows of a frame; the feeds make them, event_stream.py tells them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# rendered, from the cache, failed, in work, to be tried again, waiting; of a draft: of earlier
# content, to be drawn anew
Letter = Literal["r", "c", "f", "w", "t", ".", "o"]


@dataclass(frozen=True)
class FrameRow:
    """A frame as the page shows it.

    seconds, cpu_seconds: of its POV-Ray process, None where that is not known; started, ended: Unix
    seconds, 0 where there is none; version: tells its image from an earlier one of the frame, ""
    where there is none.
    """

    letter: Letter = "."
    seconds: float | None = None
    cpu_seconds: float | None = None
    peak_memory_bytes: int | None = None
    host: str = ""
    attempts: int = 0
    started: float = 0.0
    ended: float = 0.0
    version: str = ""
