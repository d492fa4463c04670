"""What every frame of a job is at, from two listings and the job's state; for ``povstorm status``.

A frame's image is stored before its result, so where both are there the frame is rendered, and a
result without an image is that of a failed attempt. Only those are read, and only so many.
"""

from __future__ import annotations

import time
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Literal

from povstorm_client.errors import RecordError, StorageError
from povstorm_client.frames.result import FrameResult
from povstorm_client.frames.work_unit import WorkUnit
from povstorm_client.jobs.frame_results import FrameResults
from povstorm_client.jobs.state import LOST_SECONDS, JobState
from povstorm_client.storage.parallel import in_parallel
from povstorm_client.storage.protocol import Storage, StoredObject

FrameAt = Literal["rendered", "working", "retrying", "failed", "waiting"]

# Who has more failed frames than that wants their reasons no more than the first few.
_MOST_READ = 40
# The rate is that of the frames that were finished last.
_RATE_FRAMES = 50


@dataclass(frozen=True)
class FrameOverview:
    """Frame → what it is at, ascending; and more of those that failed, as far as it was read.

    unreadable: frame → what is wrong with its result, or, after a check, with its image, which
    running the job again replaces.
    finished: when the rendered frames' results were stored, Unix seconds, ascending.
    """

    frames: Mapping[int, FrameAt]
    failures: Sequence[FrameResult] = ()
    unreadable: Mapping[int, str] = field(default_factory=dict)
    finished: Sequence[float] = field(default=(), repr=False)

    def count(self, at: FrameAt) -> int:
        """How many frames are at it."""
        return sum(each == at for each in self.frames.values())

    def with_damage(self, damage: Mapping[int, str]) -> FrameOverview:
        """The same, where damaged frames have failed; damage: as Job.damage has it."""
        reasons = {frame: why or "its image is gone" for frame, why in damage.items()}
        known = {frame: why for frame, why in reasons.items() if frame in self.frames}
        return replace(
            self,
            frames=dict(self.frames) | dict.fromkeys(known, "failed"),
            unreadable=dict(sorted((dict(self.unreadable) | known).items())),
        )

    @property
    def per_second(self) -> float | None:
        """Frames finished a second, lately; None where there are too few to tell."""
        latest = self.finished[-_RATE_FRAMES:]
        if len(latest) < 2 or latest[-1] <= latest[0]:
            return None
        return (len(latest) - 1) / (latest[-1] - latest[0])


class FrameWatch:
    """Looks at the frames of one job again and again; what cannot have changed is kept."""

    def __init__(self, storage: Storage, job_id: str, units: Sequence[WorkUnit]) -> None:
        self._results = FrameResults(storage, job_id)
        self._units = {unit.work_unit_id: unit for unit in units}
        self._by_frame = {unit.frame: unit for unit in units}
        self._read: dict[tuple[int, float], FrameResult | RecordError | None] = {}

    def look(self, state: JobState | None) -> FrameOverview:
        """The frames now; a call for each thousand objects, and one for each new failure."""
        units = self._units
        with ThreadPoolExecutor(1) as beside:
            imaged = beside.submit(self._results.images, list(units.values()))
            listed = self._results.listed()
            with_image = {units[unit_id].frame for unit_id in imaged.result()}
        stored = {
            units[unit_id].frame: each for unit_id, each in listed.items() if unit_id in units
        }
        without = {frame: stored[frame] for frame in sorted(stored.keys() - with_image)}
        failures, unreadable = self._failures(without)
        working = _working(state, sorted(unit.frame for unit in units.values()))

        def at(frame: int) -> FrameAt:
            if frame in stored and frame in with_image:
                return "rendered"
            if frame in working:
                return "working"
            if frame in stored:
                failure = failures.get(frame)
                ended = state is None or state.ended
                retrying = failure is not None and failure.state == "retrying" and not ended
                return "retrying" if retrying else "failed"
            return "waiting"

        frames = {unit.frame: at(unit.frame) for unit in units.values()}
        return FrameOverview(
            frames=dict(sorted(frames.items())),
            failures=[failures[frame] for frame in sorted(failures) if frames[frame] == "failed"],
            unreadable=unreadable,
            finished=sorted(stored[frame].changed for frame in stored.keys() & with_image),
        )

    def _failures(
        self, without_image: Mapping[int, StoredObject]
    ) -> tuple[dict[int, FrameResult], dict[int, str]]:
        """Of the first frames of those: results of attempts that failed, and what is no result."""
        wanted = dict(list(without_image.items())[:_MOST_READ])
        new = [frame for frame, each in wanted.items() if (frame, each.changed) not in self._read]
        for frame, result in zip(new, in_parallel(self._result, new), strict=True):
            self._read[frame, wanted[frame].changed] = result
        found = {frame: self._read[frame, each.changed] for frame, each in wanted.items()}
        return (
            {frame: each for frame, each in found.items() if isinstance(each, FrameResult)},
            {frame: str(each) for frame, each in found.items() if isinstance(each, RecordError)},
        )

    def _result(self, frame: int) -> FrameResult | RecordError | None:
        try:
            return self._results.read(self._by_frame[frame])
        except RecordError as error:
            return error
        except StorageError:
            return None  # the next look tells


def _working(state: JobState | None, frames: Sequence[int]) -> set[int]:
    """Those of the frames, ascending, that a flow which is alive has in work."""
    if state is None or state.ended or time.time() - state.updated > LOST_SECONDS:
        return set()
    return {
        frame
        for first, last in state.working
        for frame in frames[bisect_left(frames, first) : bisect_right(frames, last)]
    }
