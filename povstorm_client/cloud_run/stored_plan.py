"""StoredPlan: what the waves of a job were planned to take and what they took, ``plan.json``.

It is the ledger of all that was started for the job, by any run of it: who starts a wave writes it
down first. The dispatcher of the waves and SegmentWaves do; status and the report read it.
"""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass

from povstorm_client.errors import RecordError
from povstorm_client.storage import layout
from povstorm_client.storage.protocol import Storage
from povstorm_client.storage.records import Count, Moment, Seconds, Usd, find_record

_WRITING = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class StoredWave:
    """One wave, predicted and actual; completed and billed_usd are None until it has ended.

    frames: that it renders; segments: of the video, that it encodes instead.
    execution: its name at Google, None until it has started. render_job: the name of the fleet's
    job. submitted, completed: Unix seconds.
    """

    wave: str
    segments: Count = 0
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
    def spent_usd(self) -> float:
        """What it was billed, or is expected to be."""
        return self.predicted_usd if self.billed_usd is None else self.billed_usd

    @property
    def seconds(self) -> float | None:
        """From its start to its end, None before that."""
        return None if self.completed is None else max(0.0, self.completed - self.submitted)


@dataclass(frozen=True, kw_only=True)
class StoredPlan:
    """All waves so far; usd and seconds as planned, tasks and frames in all.

    lean: what they prefer (JobSettings.prefer), by its stored name. seconds_per_frame: CPU seconds
    from which they were planned, None where that is not known. frames_per_task: of the fullest one.
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
        cls, waves: tuple[StoredWave, ...], *, prefer: str, seconds_per_frame: float | None
    ) -> StoredPlan:
        """The plan of these waves, with their sums."""
        return cls(
            lean=prefer,
            seconds_per_frame=seconds_per_frame,
            tasks=sum(wave.tasks for wave in waves),
            frames=sum(wave.frames for wave in waves),
            frames_per_task=max(
                (math.ceil(wave.frames / wave.tasks) for wave in waves if wave.tasks), default=0
            ),
            seconds=sum(wave.predicted_seconds for wave in waves),
            usd=sum(wave.predicted_usd for wave in waves),
            billed_usd=sum(wave.billed_usd or 0.0 for wave in waves),
            waves=waves,
        )


def write_plan(storage: Storage, job_id: str, plan: StoredPlan) -> None:
    """Store the plan of a job's waves in place of the one before."""
    plain = asdict(plan)
    for wave in plain["waves"]:
        # Only waves of segments say so: what reads plans of frames has never seen it.
        if not wave["segments"]:
            del wave["segments"]
    storage.write(layout.plan(job_id), json.dumps(plain, indent=2).encode())


def add_to_plan(
    storage: Storage,
    job_id: str,
    waves: Iterable[StoredWave],
    *,
    prefer: str = "",
    seconds_per_frame: float | None = None,
) -> None:
    """Write waves down, in place of what was there of the same ones; all others stay.

    Waves of several threads of one process do not overwrite each other.
    """
    with _WRITING:
        before = _readable_plan(storage, job_id)
        _write_added(storage, job_id, before, waves, prefer, seconds_per_frame)


def reserve(
    storage: Storage,
    job_id: str,
    wave: StoredWave,
    most_usd: float | None,
    *,
    prefer: str = "",
    seconds_per_frame: float | None = None,
) -> float | None:
    """Write a wave down before it starts, unless with it the job would cost more than most_usd.

    Returns None if it is written down, and else what the job's others cost. Frames and segments are
    planned by two threads of one process: what one has reserved the other counts.
    """
    with _WRITING:
        before = _readable_plan(storage, job_id)
        others = (each for each in (before.waves if before else ()) if each.wave != wave.wave)
        spent = sum(each.spent_usd for each in others)
        if most_usd is not None and spent + wave.predicted_usd > most_usd:
            return spent
        _write_added(storage, job_id, before, [wave], prefer, seconds_per_frame)
        return None


def _write_added(
    storage: Storage,
    job_id: str,
    before: StoredPlan | None,
    waves: Iterable[StoredWave],
    prefer: str,
    seconds_per_frame: float | None,
) -> None:
    records = {wave.wave: wave for wave in (before.waves if before else ())}
    records |= {wave.wave: wave for wave in waves}
    plan = StoredPlan.of_waves(
        tuple(records.values()),
        prefer=prefer or (before.lean if before else ""),
        seconds_per_frame=seconds_per_frame or (before.seconds_per_frame if before else None),
    )
    write_plan(storage, job_id, plan)


def spent_usd(storage: Storage, job_id: str, *, without: Collection[str] = ()) -> float:
    """What all waves of the job were billed, or are expected to be, but for those of these ids."""
    plan = _readable_plan(storage, job_id)
    return sum(wave.spent_usd for wave in (plan.waves if plan else ()) if wave.wave not in without)


def _readable_plan(storage: Storage, job_id: str) -> StoredPlan | None:
    try:
        return read_plan(storage, job_id)
    except RecordError:
        # Written by whatever version: nothing can be taken from it, and it is replaced.
        return None


def read_plan(storage: Storage, job_id: str) -> StoredPlan | None:
    """The plan of a job's waves, None where there is none; RecordError if it is not readable."""
    return find_record(storage, layout.plan(job_id), StoredPlan)
