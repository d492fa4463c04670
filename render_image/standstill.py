"""Standstill: whether all threads of a running POV-Ray have waited for each other for long.

process_watch.py asks. POV-Ray 3.7 can come to that where it fails: where the disk was full it hung
in one of some hundred runs, its back end waiting for a thread that waits, its front end for that.
"""

from __future__ import annotations

import os
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_LOOK_SECONDS = 1.0
# Front end and waiting threads look at each other up to a thousand times a second, which takes 2 %
# of a core (measured), and catch one of them at that now and then. Who renders, or waits for its
# turn to, is caught always, however busy the machine is.
_MOST_AT_WORK = 0.25
_MOST_CPU = 0.05
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


class _Look(NamedTuple):
    at: float
    cpu_seconds: float
    at_work: bool


class Standstill:
    """Of one process; seconds: for how long it has to stand still, at least two."""

    def __init__(self, seconds: float) -> None:
        self._looks: deque[_Look] = deque(maxlen=1 + max(2, round(seconds / _LOOK_SECONDS)))

    def look(self, pid: int) -> bool:
        """Look at it, at most once a second; whether it has stood still for all of the time.

        False where the system has no /proc, and while the process is stopped.
        """
        now = time.monotonic()
        if self._looks and now - self._looks[-1].at < _LOOK_SECONDS:
            return False
        threads = _threads(pid)
        if not threads:
            self._looks.clear()
            return False
        # Sleeping (S) is waiting for a thread; D is for a disk, R at work, T stopped: proc(5).
        at_work = any(state != b"S" for state, _ in threads)
        self._looks.append(_Look(now, sum(cpu for _, cpu in threads), at_work))
        first, last = self._looks[0], self._looks[-1]
        return (
            len(self._looks) == self._looks.maxlen
            and sum(look.at_work for look in self._looks) <= _MOST_AT_WORK * len(self._looks)
            and last.cpu_seconds - first.cpu_seconds <= _MOST_CPU * (last.at - first.at)
        )


def _threads(pid: int) -> list[tuple[bytes, float]]:
    """State and CPU seconds of each thread; nothing where that cannot be read."""
    found = []
    with suppress(OSError):
        for stat in Path(f"/proc/{pid}/task").glob("*/stat"):
            with suppress(FileNotFoundError, ProcessLookupError):  # it has ended since
                # The name, in brackets, may be anything.
                state, *fields = stat.read_bytes().rpartition(b")")[2].split()
                found.append((state, (int(fields[10]) + int(fields[11])) / _TICKS_A_SECOND))
    return found
