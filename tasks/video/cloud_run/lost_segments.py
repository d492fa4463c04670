"""What becomes of segments whose container has ended without storing them; arithmetic only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from povstorm_client.cloud_run.api import TaskState
from povstorm_client.cloud_run.fleet import CloudRunFleet
from tasks.video.cloud_run.segment_wave import SegmentWave, WaitingSegment
from tasks.waves.lost_container import what_happened


@dataclass(frozen=True)
class LostSegments:
    """refused: of containers that were not let in; again, given_up: of those that were lost.

    unseen: given to a container that had waited long enough, and ended in order, in that moment.
    reason: how one of the latter ended, in words.
    """

    refused: tuple[WaitingSegment, ...]
    again: tuple[WaitingSegment, ...]
    given_up: tuple[WaitingSegment, ...]
    reason: str
    unseen: tuple[WaitingSegment, ...] = ()

    @classmethod
    def of(
        cls,
        wave: SegmentWave,
        states: Sequence[TaskState],
        fleet: CloudRunFleet,
        attempts: int,
        *,
        is_over: bool,
    ) -> LostSegments:
        """Those that wait for a task of the wave that has ended, each as its next attempt.

        states: of its tasks. attempts: how many a segment has; one that was refused, or not seen,
        was not tried.
        None is given up for want of memory before it had the most that there is. is_over: whether
        all tasks have ended, also those of which nothing is known.
        """
        tasks = {task.index: task for task in states}
        memory_mib = fleet.jobs[wave.size].memory_mib
        refused, again, given_up, unseen, reason = [], [], [], [], ""
        for name, segment in wave.waiting.items():
            index = wave.task_of(name)
            task = tasks.get(index)
            if not is_over and not (task is not None and task.has_ended):
                continue
            if task is not None and task.not_let_in:
                refused.append(segment)
                continue
            if wave.patience is not None and task is not None and task.outcome == "succeeded":
                unseen.append(segment)
                continue
            reason = f"their container {wave.host(index)} {what_happened(task, memory_mib)}"
            size, attempt = segment.size, segment.attempt + 1
            if task is not None and task.out_of_memory:
                size, attempt = size + 1, min(attempt, attempts)
            if attempt <= attempts and size < len(fleet.jobs):
                again.append(replace(segment, attempt=attempt, size=size))
            else:
                given_up.append(segment)
        return cls(tuple(refused), tuple(again), tuple(given_up), reason, tuple(unseen))

    @property
    def names(self) -> list[str]:
        """Of all of them."""
        found = (*self.refused, *self.unseen, *self.again, *self.given_up)
        return [segment.name for segment in found]
