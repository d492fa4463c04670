"""WaveShare: the frames that one array task of a Cloud Run execution renders.

The dispatcher (tasks/renderers/cloud_run.py) writes one for each task of a wave before its
execution starts; the container reads its own, and those of tasks that it helps.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from povstorm_client import layout
from povstorm_client.errors import InputError, StorageError
from povstorm_client.job_manifest import STALL_SECONDS, check_belongs, open_job
from povstorm_client.parallel import in_parallel
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


def write_wave(storage: Storage, wave: str, shares: Sequence[WaveShare]) -> None:
    """Store the share of each task, and the index: which units each has, by their ids."""
    index = [[frame.unit.work_unit_id for frame in share.frames] for share in shares]
    storage.write(layout.wave_index(wave), json.dumps(index).encode())

    def write(place: tuple[int, WaveShare]) -> None:
        task_index, share = place
        storage.write(layout.wave_share(wave, task_index), json.dumps(share.to_json()).encode())

    for _ in in_parallel(write, enumerate(shares)):
        pass


def read_index(storage: Storage, wave: str) -> list[list[str]]:
    """The unit ids of a stored wave by task; StorageError if there is no readable index."""
    try:
        index = json.loads(storage.read(layout.wave_index(wave)))
        return [[str(unit_id) for unit_id in share] for share in index]
    except (ValueError, TypeError) as error:
        raise StorageError(f"{layout.wave_index(wave)} is not readable: {error}") from error


def open_wave(wave_uri: str) -> tuple[Storage, str]:
    """The storage that a wave's uri names, and the wave's prefix in it.

    Raises InputError if the uri, which is the job's + /waves/ID, is none.
    """
    job_uri, separator, wave_id = wave_uri.rpartition("/waves/")
    if not separator or not wave_id:
        raise InputError(f"{wave_uri!r} is no wave: expected STORAGE/jobs/JOB_ID/waves/WAVE_ID")
    storage, job_id = open_job(job_uri)
    return storage, layout.wave(job_id, wave_id)


def read_share(storage: Storage, wave: str, task_index: int) -> WaveShare:
    """A task's share; InputError if it is not readable, StorageError if it is not there."""
    text = storage.read(layout.wave_share(wave, task_index))
    try:
        share = WaveShare.from_json(json.loads(text))
    except ValueError as error:
        raise InputError(f"the share of task {task_index} is not JSON: {error}") from error
    for frame in share.frames:
        check_belongs(frame.unit, layout.job_of_wave(wave))
    return share
