"""StoredPlan: what ``plan.json`` says of a job's waves; status and the report read it.

tasks/renderers/cloud_run/wave_record.py writes it.
"""

from __future__ import annotations

from dataclasses import dataclass

from povstorm_client.storage import layout
from povstorm_client.storage.protocol import Storage
from povstorm_client.storage.records import Count, Moment, Seconds, Usd, read_record


@dataclass(frozen=True)
class StoredWave:
    """One wave, predicted and actual; completed and billed_usd are None until it has ended."""

    wave: str
    render_job: str
    tasks: Count
    frames: Count
    failed_tasks: Count
    submitted: Moment
    completed: Moment | None
    predicted_seconds: Seconds
    predicted_usd: Usd
    billed_usd: Usd | None


@dataclass(frozen=True)
class StoredPlan:
    """All waves so far; usd as planned."""

    waves: tuple[StoredWave, ...]
    usd: Usd = 0.0
    billed_usd: Usd = 0.0


def read_plan(storage: Storage, job_id: str) -> StoredPlan | None:
    """The plan of a job's waves, None where there is none; RecordError if it is not readable."""
    key = layout.plan(job_id)
    return None if storage.stat(key) is None else read_record(storage, key, StoredPlan)
