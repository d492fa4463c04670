"""Gathering: the frames that wait for a wave, and whether to go on waiting for others.

The dispatcher tells it who comes; every time is a second of the event loop's clock and passed in.
"""

from __future__ import annotations

from collections.abc import Iterable

from tasks.renderers.cloud_run.frame_wave import WaitingFrame
from tasks.renderers.cloud_run.wave_setting import Pace


class Gathering:
    """pending: the frames that are in no wave yet, by unit id."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self.pending: dict[str, WaitingFrame] = {}
        # Admitted, and neither here yet nor found in the cache: a wave can still take them along.
        self._expected: set[str] = set()
        self._last_arrival = 0.0
        self._all_came = False

    def expect(self, unit_id: str) -> None:
        """A frame was admitted: it is to come soon."""
        self._expected.add(unit_id)

    def expect_no_more(self, unit_id: str) -> None:
        """It has come, or needs no rendering."""
        self._expected.discard(unit_id)

    def arrived(self, frame: WaitingFrame) -> None:
        """A frame waits for a wave from now on."""
        self.pending[frame.unit.work_unit_id] = frame
        self._last_arrival = frame.since

    def all_arrived(self, frames: Iterable[WaitingFrame]) -> None:
        """These frames came together: they wait for no others."""
        self.pending |= {frame.unit.work_unit_id: frame for frame in frames}
        self._all_came = True

    def take(self, unit_ids: Iterable[str]) -> None:
        """The frames have found their wave."""
        for unit_id in unit_ids:
            del self.pending[unit_id]
        self._all_came &= bool(self.pending)

    def forget(self, frame: WaitingFrame) -> None:
        """Nobody waits for the frame any more; a later attempt of it stays."""
        if self.pending.get(frame.unit.work_unit_id) is frame:
            del self.pending[frame.unit.work_unit_id]

    def is_complete(self, now: float) -> bool:
        """Whether there are frames, and no others are to be waited for."""
        if not self.pending:
            return False
        if self._all_came:
            return True
        first = min(frame.since for frame in self.pending.values())
        all_here = not self._expected and now - self._last_arrival >= self._pace.gather_quiet
        return all_here or now - first >= self._pace.gather_most
