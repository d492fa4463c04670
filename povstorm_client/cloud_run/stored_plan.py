"""StoredPlan: what the waves of a job were planned to take and what they took, ``plan.json``.

The dispatcher of the waves writes it; status and the report read it.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass

from povstorm_client.storage import layout
from povstorm_client.storage.protocol import Storage
from povstorm_client.storage.records import Count, Moment, Seconds, Usd, read_record


@dataclass(frozen=True, kw_only=True)
class StoredWave:
    """One wave, predicted and actual; completed and billed_usd are None until it has ended.

    execution: its name at Google, None until it has started. render_job: the name of the fleet's
    job. submitted, completed: Unix seconds.
    """

    wave: str
    execution: str | None = None
    render_job: str
    tasks: Count
    frames: Count
    submitted: Moment
    completed: Moment | None
    failed_tasks: Count
    predicted_seconds: Seconds
    predicted_usd: Usd
    billed_usd: Usd | None

    @property
    def seconds(self) -> float | None:
        """From its start to its end, None before that."""
        return None if self.completed is None else max(0.0, self.completed - self.submitted)


@dataclass(frozen=True, kw_only=True)
class StoredPlan:
    """All waves so far; usd and seconds as planned, tasks and frames in all.

    seconds_per_frame: CPU seconds from which they were planned, None where that is not known.
    frames_per_task: of the fullest task.
    """

    lean: str = ""
    seconds_per_frame: Seconds | None = None
    tasks: Count = 0
    frames: Count = 0
    frames_per_task: Count = 0
    seconds: Seconds = 0.0
    usd: Usd = 0.0
    billed_usd: Usd = 0.0
    waves: tuple[StoredWave, ...]

    @classmethod
    def of_waves(
        cls, waves: tuple[StoredWave, ...], *, lean: str, seconds_per_frame: float | None
    ) -> StoredPlan:
        """The plan of these waves, with their sums."""
        return cls(
            lean=lean,
            seconds_per_frame=seconds_per_frame,
            tasks=sum(wave.tasks for wave in waves),
            frames=sum(wave.frames for wave in waves),
            frames_per_task=max((math.ceil(wave.frames / wave.tasks) for wave in waves), default=0),
            seconds=sum(wave.predicted_seconds for wave in waves),
            usd=sum(wave.predicted_usd for wave in waves),
            billed_usd=sum(wave.billed_usd or 0.0 for wave in waves),
            waves=waves,
        )


def write_plan(storage: Storage, job_id: str, plan: StoredPlan) -> None:
    """Store the plan of a job's waves in place of the one before."""
    storage.write(layout.plan(job_id), json.dumps(asdict(plan), indent=2).encode())


def read_plan(storage: Storage, job_id: str) -> StoredPlan | None:
    """The plan of a job's waves, None where there is none; RecordError if it is not readable."""
    key = layout.plan(job_id)
    return None if storage.stat(key) is None else read_record(storage, key, StoredPlan)
