"""The job manifest: what the client writes and the flow reads (``job.json``, ``work_units.jsonl``).

job.json is written last, so a job exists with all of its work units or not at all.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from typing import Any

from povstorm_client.cloud_run.fleet import CloudRunFleet
from povstorm_client.errors import InputError, RecordError, StorageError
from povstorm_client.frames.job_settings import STALL_SECONDS, JobSettings
from povstorm_client.frames.work_unit import WorkUnit, check_belongs
from povstorm_client.jobs.prediction import Prediction
from povstorm_client.paths import check_workspace_path
from povstorm_client.storage import layout
from povstorm_client.storage.job_address import check_job_id
from povstorm_client.storage.protocol import Storage
from povstorm_client.storage.records import (
    Count,
    Frame,
    JobId,
    Moment,
    Seconds,
    decode,
    readable,
)


@dataclass(frozen=True)
class Tracing:
    """What it took to run a scene's frames first: how many were parsed, and in how many seconds."""

    frames: Count
    seconds: Seconds


@dataclass(frozen=True)
class JobManifest:
    """What a job is.

    frames: ascending frame numbers, one WorkUnit each. shared_tree: digest of the shared
    resources; shared_files: path below ``./shared`` → SHA-256 of its content, in ``blobs/``.
    settings: how it is rendered; what they say of Google Cloud is stored with cloud_run only.
    created: Unix seconds. version: povstorm's. cloud_run: where the frames are rendered on Cloud
    Run; None renders them where the flow runs. tracing: what came before the job was submitted;
    None where reading the scene was enough. prediction: what a preview that came before said.
    bisected: whether frames that lie far apart are begun first, where they are rendered here.
    """

    job_id: str
    name: str
    frames: tuple[int, ...]
    shared_tree: str
    shared_files: dict[str, str]
    settings: JobSettings
    created: float
    created_by: str
    version: str
    cloud_run: CloudRunFleet | None = None
    tracing: Tracing | None = None
    prediction: Prediction | None = None
    bisected: bool = False

    def to_json(self) -> dict[str, Any]:
        """Plain data, as job.json has it: the settings' fields lie beside the others."""
        stored = _Stored(
            **{name: getattr(self, name) for name in _OWN},
            **{name: getattr(self.settings, name) for name in _KEPT},
            video_ending=self.settings.video or "",
        )
        plain = asdict(stored)
        for name in _LEFT_OUT:
            if plain[name] == _DEFAULTS[name]:
                del plain[name]
        return plain


@dataclass(frozen=True)
class _Stored:
    """job.json, in the order of its fields; those that came later have a default.

    What is of JobSettings has a kind here, and its bounds there.
    """

    job_id: JobId
    name: str
    frames: tuple[Frame, ...]
    shared_tree: str
    shared_files: dict[str, str]
    fps: str
    video_ending: str
    allow_missing_frames: bool
    retries: int
    frame_timeout: float | None
    created: Moment
    created_by: str
    version: str
    cloud_run: CloudRunFleet | None = None
    stall_timeout: float | None = STALL_SECONDS
    frame_memory: int | None = None
    tracing: Tracing | None = None
    prediction: Prediction | None = None
    codec: str | None = None
    crf: int | None = None
    tone_map: str = "clip"
    exposure: float = 0.0
    bisected: bool = False

    def manifest(self) -> JobManifest:
        """Raises InputError for settings that cannot be meant."""
        cloud = {} if self.cloud_run is None else self.cloud_run.stored_settings()
        kept = {name: getattr(self, name) for name in _KEPT}
        return JobManifest(
            **{name: getattr(self, name) for name in _OWN},
            settings=JobSettings(video=self.video_ending or None, **kept, **cloud),
        )


# Of what is asked for seldom, job.json says nothing where it is not.
_LEFT_OUT = ("tracing", "prediction", "bisected", "codec", "crf", "tone_map", "exposure")
_DEFAULTS = {field.name: field.default for field in fields(_Stored)}
_STORED = {field.name for field in fields(_Stored)}
# What job.json has under the same name: of the manifest itself, and of its settings.
_OWN = [field.name for field in fields(JobManifest) if field.name in _STORED]
_KEPT = [field.name for field in fields(JobSettings) if field.name in _STORED]


def check_job_name(name: str) -> None:
    """Raise InputError unless name can be part of a folder's name, as commands use it."""
    if "/" in name or not name.isprintable():
        raise InputError(
            f"job name {name!r} cannot be part of a file name: give one without '/' and control "
            "characters"
        )


def write_manifest(storage: Storage, manifest: JobManifest, units: list[WorkUnit]) -> None:
    """Store a job's work units, then its manifest; StorageError if there is such a job already."""
    lines = "".join(json.dumps(unit.to_json()) + "\n" for unit in units)
    storage.write(layout.work_units(manifest.job_id), lines.encode())
    text = json.dumps(manifest.to_json(), indent=2)
    if not storage.create(layout.job_manifest(manifest.job_id), text.encode()):
        raise StorageError(f"there is a job {manifest.job_id} in {storage.uri} already: try again")


def require_job(storage: Storage, job_id: str) -> str:
    """The key of its manifest; InputError if there is no such job."""
    check_job_id(job_id)
    key = layout.job_manifest(job_id)
    if storage.stat(key) is None:
        raise InputError(f"there is no job {job_id!r} in {storage.uri}: look with `povstorm jobs`")
    return key


def read_manifest(storage: Storage, job_id: str) -> JobManifest:
    """The stored manifest; InputError if there is no such job, StorageError if unreadable."""
    key = require_job(storage, job_id)
    data = storage.read(key)
    with readable(key, storage):
        manifest = decode(data, _Stored, key, storage).manifest()
        _check_manifest(manifest, job_id)
    return manifest


def _check_manifest(manifest: JobManifest, job_id: str) -> None:
    """Raise InputError or ValueError for what would lead out of the job, or make no sense."""
    if manifest.job_id != job_id:
        raise InputError(f"it is the manifest of {manifest.job_id!r}")
    check_job_name(manifest.name)
    for path, digest in manifest.shared_files.items():
        check_workspace_path(path, "shared resource")
        if not layout.is_digest(digest):
            raise InputError(f"shared resource {path!r} has no digest")
    if not manifest.frames or any(frame >= after for frame, after in pairwise(manifest.frames)):
        raise InputError("its frames are not numbers in ascending order")


def read_work_units(storage: Storage, job_id: str) -> list[WorkUnit]:
    """The job's work units, ascending by frame; cmd and id are rebuilt, not believed."""
    key = layout.work_units(job_id)
    data = storage.read(key)
    kept: dict[object, Any] = {}
    with readable(key, storage):
        units = [
            WorkUnit.from_json(decode(line, dict[str, Any], key, storage), kept)
            for line in io.BytesIO(data)
        ]
        for unit in units:
            check_belongs(unit, job_id)
    return units


def check_frames(manifest: JobManifest, units: Sequence[WorkUnit]) -> None:
    """Raise RecordError unless a job's work units are those of its manifest's frames."""
    if tuple(unit.frame for unit in units) != manifest.frames:
        raise RecordError(
            f"the work units of job {manifest.job_id} are not those of its manifest's frames: "
            "submit it again"
        )
