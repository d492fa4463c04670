"""WaveShare: the frames that one array task of a Cloud Run execution renders.

The dispatcher (tasks/renderers/cloud_run.py) writes one for each task of a wave, the container's
entrypoint reads its own.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from povstorm_client import layout
from povstorm_client.errors import InputError
from povstorm_client.job_manifest import STALL_SECONDS, check_belongs, open_job
from povstorm_client.storage import Storage
from povstorm_client.work_unit import WorkUnit


@dataclass(frozen=True)
class WaveFrame:
    """One attempt at a frame; attempt counts from 1, queued_since in Unix seconds."""

    unit: WorkUnit
    attempt: int
    final_attempt: bool
    queued_since: float


@dataclass(frozen=True)
class WaveShare:
    """Frames of one job, and seconds for POV-Ray; None for no limit.

    frame_timeout: for all of a frame; stall_timeout: without a further pixel.
    """

    frames: tuple[WaveFrame, ...]
    frame_timeout: float | None
    stall_timeout: float | None = STALL_SECONDS

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "frame_timeout": self.frame_timeout,
            "stall_timeout": self.stall_timeout,
            "frames": [{**vars(frame), "unit": frame.unit.to_json()} for frame in self.frames],
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> WaveShare:
        """The inverse of to_json; raises InputError for what is not a WaveShare."""
        try:
            return cls(
                frames=tuple(
                    WaveFrame(**{**frame, "unit": WorkUnit.from_json(frame["unit"])})
                    for frame in data["frames"]
                ),
                frame_timeout=data["frame_timeout"],
                stall_timeout=data.get("stall_timeout", STALL_SECONDS),
            )
        except (KeyError, TypeError) as error:
            raise InputError(f"the share of a wave is not readable: {error!r}") from error


def write_share(storage: Storage, wave: str, task_index: int, share: WaveShare) -> None:
    """Store a task's share below the wave's prefix."""
    storage.write(layout.wave_share(wave, task_index), json.dumps(share.to_json()).encode())


def open_share(wave_uri: str, task_index: int) -> tuple[Storage, WaveShare]:
    """The storage that a wave's uri names, and a task's share; the uri is the job's + /waves/ID.

    Raises InputError if the uri or the share is not readable, StorageError if it is not there.
    """
    job_uri, separator, wave_id = wave_uri.rpartition("/waves/")
    if not separator or not wave_id:
        raise InputError(f"{wave_uri!r} is no wave: expected STORAGE/jobs/JOB_ID/waves/WAVE_ID")
    storage, job_id = open_job(job_uri)
    text = storage.read(layout.wave_share(layout.wave(job_id, wave_id), task_index))
    try:
        share = WaveShare.from_json(json.loads(text))
    except ValueError as error:
        raise InputError(f"the share of task {task_index} is not JSON: {error}") from error
    for frame in share.frames:
        check_belongs(frame.unit, job_id)
    return storage, share
