"""What no job refers to any more: found and deleted by ``povstorm clean``.

Uploaded files and shared trees are used by those jobs whose manifest names them, so none of them
is deleted unless every manifest was read. sweep_marker.py keeps jobs safe that are submitted
meanwhile; and what is younger than a day stays, so that their uploads are not repeated.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import islice

from povstorm_client.cleaning.job_deletion import YOUNG_SECONDS, delete_job, half_deleted
from povstorm_client.cleaning.sweep_marker import SweepMarker
from povstorm_client.errors import InputError, StorageError
from povstorm_client.jobs.manifest import JobManifest, read_manifest
from povstorm_client.jobs.summary import job_ids
from povstorm_client.storage import layout
from povstorm_client.storage.parallel import CALLS_AT_ONCE, in_parallel
from povstorm_client.storage.protocol import Storage, StoredObject

# So many deletions take about a second; after them the notice is looked at again.
_BATCH = 4 * CALLS_AT_ONCE


@dataclass(frozen=True)
class Unreferenced:
    """What can be deleted: uploaded files, shared trees, and what is left of jobs.

    files: the blobs, the objects of the trees, and the cache's lists of deleted jobs. trees: their
    digests. leftovers: ids of jobs without a manifest: half deleted, or not submitted to their end.
    unreadable: ids of jobs whose manifest cannot be read; there may be no files then.
    """

    files: tuple[StoredObject, ...] = ()
    trees: tuple[str, ...] = ()
    leftovers: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()

    @property
    def bytes(self) -> int:
        """The size of the files."""
        return sum(stored.size for stored in self.files)


def find_unreferenced(
    storage: Storage, now: float, *, without: Collection[str] = ()
) -> Unreferenced:
    """What nothing refers to; now: the storage's time. without: ids of jobs taken for deleted."""
    looked_for = [job_id for job_id in job_ids(storage) if job_id not in without]
    manifests = list(in_parallel(partial(_manifest, storage), looked_for))
    by_id = list(zip(looked_for, manifests, strict=True))
    deleting = half_deleted(storage)
    abandoned = (
        job_id
        for job_id, manifest in by_id
        if manifest is None and job_id not in deleting and _is_abandoned(storage, job_id, now)
    )
    leftovers = tuple(sorted({*deleting, *abandoned} - set(without)))
    unreadable = tuple(job_id for job_id, manifest in by_id if isinstance(manifest, StorageError))
    if unreadable:
        return Unreferenced(leftovers=leftovers, unreadable=unreadable)
    jobs = [manifest for manifest in manifests if isinstance(manifest, JobManifest)]
    wanted_blobs = {layout.blob(digest) for job in jobs for digest in job.shared_files.values()}
    wanted_trees = {job.shared_tree for job in jobs}
    old = now - YOUNG_SECONDS
    files = [
        stored
        for stored in storage.list(layout.BLOBS)
        if layout.is_own(stored.key) and stored.key not in wanted_blobs and stored.changed < old
    ]
    known = {job_id for job_id, manifest in by_id if manifest is not None}
    for stored in storage.list(layout.RESULT_CACHE):
        job_id = layout.job_of_cache_list(stored.key)
        if job_id is not None and job_id not in known and stored.changed < old:
            files.append(stored)
    trees = []
    for digest in storage.folders(layout.SHARED):
        if digest in wanted_trees or not layout.is_digest(digest):
            continue
        objects = list(storage.list(layout.shared(digest)))
        if all(stored.changed < old for stored in objects):
            trees.append(digest)
            files += objects
    return Unreferenced(tuple(files), tuple(trees), leftovers)


def delete_unreferenced(storage: Storage) -> Unreferenced:
    """Delete what nothing refers to; returns what that was. Can be repeated when interrupted.

    Raises StorageError if this machine was asleep for so long that it is no longer safe.
    """
    with SweepMarker(storage) as notice:
        # Found anew, although it was shown to somebody before: only now submits wait.
        found = find_unreferenced(storage, notice.storage_time)
        for job_id in found.leftovers:
            notice.check()
            delete_job(storage, job_id, with_cache=False)
        keys = iter([stored.key for stored in found.files])
        while batch := list(islice(keys, _BATCH)):
            notice.check()
            _remove(storage, batch)
        for digest in found.trees:
            notice.check()
            # A folder keeps its empty folders otherwise.
            storage.delete(layout.shared(digest), layout.is_own)
    return found


def _remove(storage: Storage, keys: Iterable[str]) -> None:
    for _ in in_parallel(storage.remove, keys):
        pass


def _manifest(storage: Storage, job_id: str) -> JobManifest | StorageError | None:
    """A job's manifest; None if it has none, the error if it has one that is not readable."""
    try:
        return read_manifest(storage, job_id)
    except InputError:
        return None
    except StorageError as error:
        return error


def _is_abandoned(storage: Storage, job_id: str, now: float) -> bool:
    """Whether a submit broke off there longer ago than one may take: it stores the units first."""
    stored = list(storage.list(layout.job(job_id)))
    begun = any(each.key == layout.work_units(job_id) for each in stored)
    return begun and all(now - each.changed > YOUNG_SECONDS for each in stored)
