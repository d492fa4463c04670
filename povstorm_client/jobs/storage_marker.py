"""Whether a storage is povstorm's: told by one small object at its root, written when it is made.

Cluster and the flow ask before anything is read, written or deleted. POVSTORM_HOME, or a bucket's
name, may be mistyped, and other programs have folders called ``jobs`` and ``shared`` too.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from functools import partial

from povstorm_client.errors import InputError, StorageError
from povstorm_client.jobs.manifest import read_manifest
from povstorm_client.storage import layout
from povstorm_client.storage.parallel import in_parallel
from povstorm_client.storage.protocol import Storage, StoredObject

# Of the layout; a client refuses what it does not know.
FORMAT = 1
_FORMAT_NAME = "povstorm_storage_format"
_REMEDY = (
    "choose an empty folder with POVSTORM_HOME or Cluster.local(folder), or another bucket; if it "
    "is povstorm's all the same, say so with `povstorm adopt`"
)


def check_storage(storage: Storage) -> bool:
    """Whether the storage is marked as povstorm's; StorageError if it cannot be povstorm's.

    One without a mark can, if nothing is in it yet, or if it is from before there were marks: it
    has jobs whose manifests can be read, and nothing that povstorm would not write. One read where
    it is marked.
    """
    if _is_marked(storage):
        return True
    problem = foreign_content(storage)
    # Looked at once more: another client may have marked and filled it meanwhile.
    if problem and not _is_marked(storage):
        raise StorageError(f"{storage.uri} is no povstorm storage ({problem}): {_REMEDY}")
    return False


def claim_storage(storage: Storage) -> None:
    """Make sure that the storage is povstorm's, before anything in it is written or deleted.

    Marks what check_storage lets pass. Raises StorageError for any other.
    """
    if not check_storage(storage):
        mark_storage(storage)
    storage.prepare()


def mark_storage(storage: Storage) -> None:
    """Mark the storage as povstorm's, whatever is in it; once is enough."""
    if not storage.create(layout.MARKER, json.dumps({_FORMAT_NAME: FORMAT}).encode()):
        _is_marked(storage)


def foreign_content(storage: Storage) -> str:
    """What says that a storage without a mark is not povstorm's, in words; "" if nothing does.

    Lists all that povstorm may have in it, and reads each job's manifest: a storage is marked once.
    """
    bucket = storage.uri.startswith("gs://")
    names = []
    for name in storage.top():
        if not layout.is_own_name(name, bucket=bucket):
            return f"it has {name!r} in it"
        names.append(name)
    job_ids = set()
    empty = True
    for stored in _listed(storage, names):
        if not layout.is_own(stored.key):
            return f"it has {stored.key!r} in it"
        empty = False
        if stored.key.startswith(f"{layout.JOBS}/"):
            job_ids.add(layout.job_of_key(stored.key))
    if not empty and not job_ids:
        return "it has no job in it"
    for problem in in_parallel(partial(_no_job, storage), sorted(job_ids)):
        if problem:
            return problem
    return ""


def _listed(storage: Storage, names: Collection[str]) -> Iterator[StoredObject]:
    for prefix in layout.PREFIXES:
        if prefix in names:
            yield from storage.list(prefix)


def _no_job(storage: Storage, job_id: str) -> str:
    """Why what is stored as a job is none, in words; "" if it is one, or half deleted."""
    try:
        read_manifest(storage, job_id)
    except InputError:
        if storage.stat(layout.deletion(job_id)) is None:
            return f"{layout.job(job_id)} has no manifest"
    except StorageError as error:
        return str(error)
    return ""


def _is_marked(storage: Storage) -> bool:
    """Whether the storage has a mark; StorageError for one that is not understood."""
    mark = storage.find(layout.MARKER)
    if mark is None:
        return False
    try:
        found = json.loads(mark)[_FORMAT_NAME]
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise StorageError(
            f"{layout.MARKER} in {storage.uri} is not povstorm's mark of a storage: {_REMEDY}"
        ) from error
    if type(found) is not int or not 1 <= found <= FORMAT:
        raise StorageError(
            f"{storage.uri} has the storage format {found!r}, and this povstorm knows {FORMAT}: "
            "install the povstorm that made it, or choose another storage"
        )
    return True
