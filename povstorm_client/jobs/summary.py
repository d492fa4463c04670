"""JobSummary: what a list of jobs says of each, and the job that a user means by a short name.

Cluster.jobs makes the summaries, newest first; commands ask for a job by its name.

A job costs a few reads however many frames it has, and only the jobs that are asked for are read:
their ids tell when they were made.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from povstorm_client.errors import InputError, StorageError
from povstorm_client.jobs.manifest import read_manifest
from povstorm_client.jobs.state import read_state
from povstorm_client.storage import layout
from povstorm_client.storage.job_address import check_job_id
from povstorm_client.storage.parallel import in_parallel
from povstorm_client.storage.protocol import Storage

# How Job ends its ids: the local time, and chance.
_STAMP = re.compile(r"-(\d{8}-\d{6})-[0-9a-f]{4}$")
# What a user says instead of the newest job's id.
LAST = "last"
_MOST_LISTED = 10


@dataclass(frozen=True)
class JobSummary:
    """A stored job in a line.

    created: Unix seconds, 0 where that is not known. phase: as in JobState; "submitted" before a
    flow began, "unreadable" for what cannot be opened, with the reason in ``problem``. frames: how
    many the job has; done, failed and cached as in JobState. updated: when its flow last said
    something, Unix seconds, 0 for never. cloud_run: whether its frames are rendered on Cloud Run.
    bytes: of all its objects, None where nobody asked.
    """

    job_id: str
    name: str = ""
    created: float = 0.0
    created_by: str = ""
    phase: str = "unreadable"
    frames: int = 0
    done: int = 0
    failed: int = 0
    cached: int = 0
    updated: float = 0.0
    cloud_run: bool = False
    bytes: int | None = None
    problem: str = ""

    @property
    def ended(self) -> bool:
        """Whether its flow has ended, as far as it could say so."""
        return self.phase in ("completed", "failed", "cancelled")

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def newest_jobs(
    storage: Storage, most: int | None = None, *, sizes: bool = False
) -> list[JobSummary]:
    """The jobs of a storage, the newest first.

    most: how many, None for all; which are the newest is told by the times in their ids. sizes:
    count their bytes too, a call for each thousand objects.
    """
    ids = sorted(job_ids(storage), key=_stamp, reverse=True)[:most]
    found = in_parallel(partial(job_summary, storage, sizes=sizes), ids)
    return sorted(found, key=lambda job: (job.created, job.job_id), reverse=True)


def job_ids(storage: Storage) -> Iterator[str]:
    """The ids that something is stored under, in no particular order."""
    for name in storage.folders(layout.JOBS):
        try:
            check_job_id(name)
        except InputError:
            continue  # nothing of povstorm's
        yield name


def named_job(storage: Storage, given: str) -> str:
    """The full id of the job that a user means.

    given: an id, a beginning that one job alone has, or ``last`` for the newest. Raises InputError
    for none, and for several, which it lists.
    """
    check_job_id(given)
    if storage.stat(layout.job_manifest(given)) is not None:
        return given
    found = sorted(job_ids(storage), key=_stamp, reverse=True)
    if given == LAST:
        return _newest(storage, found)
    matching = [job_id for job_id in found if job_id.startswith(given)]
    if given in matching or not matching:
        return given  # half deleted, or none at all: who opens it says so
    if len(matching) > 1:
        listed = "".join(f"\n  {job_id}" for job_id in matching[:_MOST_LISTED])
        more = len(matching) - _MOST_LISTED
        raise InputError(
            f"{len(matching)} jobs begin with {given!r}: give more of the id of one:{listed}"
            + (f"\n  and {more} more" if more > 0 else "")
        )
    return matching[0]


def _newest(storage: Storage, job_ids: list[str]) -> str:
    for job_id in job_ids:
        if storage.stat(layout.job_manifest(job_id)) is not None:
            return job_id
    raise InputError(f"there are no jobs in {storage.uri}: render a scene first")


def job_summary(storage: Storage, job_id: str, *, sizes: bool = False) -> JobSummary:
    """One job; what is wrong with it is in the summary."""
    size = job_bytes(storage, job_id) if sizes else None
    summary = JobSummary(job_id, created=_seconds(job_id), bytes=size)
    try:
        manifest = read_manifest(storage, job_id)
    except InputError:
        return replace(summary, problem=_without_manifest(storage, job_id))
    except StorageError as error:
        return replace(summary, problem=str(error))
    summary = replace(
        summary,
        name=manifest.name,
        created=manifest.created,
        created_by=manifest.created_by,
        frames=len(manifest.frames),
        cloud_run=manifest.cloud_run is not None,
    )
    try:
        state = read_state(storage, job_id)
    except StorageError as error:
        return replace(summary, problem=str(error))
    if state is None:
        return replace(summary, phase="submitted")
    return replace(
        summary,
        phase=state.phase,
        done=state.done,
        failed=state.failed,
        cached=state.cached,
        updated=state.updated,
    )


def job_bytes(storage: Storage, job_id: str) -> int:
    """The size of all that is stored of a job."""
    return sum(stored.size for stored in storage.list(layout.job(job_id)))


def _without_manifest(storage: Storage, job_id: str) -> str:
    if storage.stat(layout.deletion(job_id)) is not None:
        return f"half deleted: `povstorm clean {job_id}` deletes the rest"
    return "it has no manifest: it is just being submitted, or never was to its end"


def _stamp(job_id: str) -> str:
    match = _STAMP.search(job_id)
    return match[1] if match else ""


def _seconds(job_id: str) -> float:
    """When the job was made, Unix seconds, as its id says; 0 if it does not."""
    try:
        return time.mktime(time.strptime(_stamp(job_id), "%Y%m%d-%H%M%S"))
    except (ValueError, OverflowError):
        return 0.0
