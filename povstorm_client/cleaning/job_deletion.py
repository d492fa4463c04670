"""Delete stored jobs; Job.delete and ``povstorm clean`` call it.

A job's manifest goes first: without it there is no job, and nothing takes a half-deleted one for a
whole one. A note outside of the job's prefix stays until the rest is gone, so that a deletion that
was interrupted is gone on with. Other jobs have copies of the frames that they took over.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterable

from povstorm_client.errors import InputError, StorageError
from povstorm_client.frames.cached_frame import parse_cached_frame
from povstorm_client.jobs.manifest import read_work_units
from povstorm_client.jobs.state import LOST_SECONDS, read_state
from povstorm_client.quantities import age_words
from povstorm_client.storage import layout
from povstorm_client.storage.parallel import in_parallel
from povstorm_client.storage.protocol import Storage

# A flow that is asked to stop does so, and says so, within this time.
_STOP_SECONDS = 120.0
# A job that was submitted may wait for its flow to begin so long: deployments have queues.
YOUNG_SECONDS = 24 * 3600.0


def storage_time(storage: Storage) -> float:
    """What the storage's own clock says, Unix seconds: times of change are told by it."""
    key = layout.clock(secrets.token_hex(8))
    storage.write(key, b"")
    try:
        stored = storage.stat(key)
    finally:
        storage.remove(key)
    if stored is None:
        raise StorageError(f"{storage.uri} does not keep what is written to it")
    return stored.changed


def reasons_to_keep(
    storage: Storage, job_ids: Iterable[str], *, at_work: Collection[str] = ()
) -> dict[str, str]:
    """The jobs that must not be deleted, with the reason: they run, or are to run.

    at_work: ids of jobs that Cloud Run executions are rendering.
    """
    now = storage_time(storage)
    wanted = list(job_ids)

    def why_not(job_id: str) -> str:
        if job_id in at_work:
            return f"Cloud Run is rendering it: `povstorm cancel {job_id}` first"
        return reason_to_keep(storage, job_id, now)

    reasons = zip(wanted, in_parallel(why_not, wanted), strict=True)
    return {job_id: reason for job_id, reason in reasons if reason}


def reason_to_keep(storage: Storage, job_id: str, now: float) -> str:
    """Why a job must not be deleted: because it runs, or is to run; "" if it may be.

    now: the storage's time.
    """
    try:
        state = read_state(storage, job_id)
    except StorageError:
        return ""  # whatever wrote it, nothing can go on with it
    if state is not None and state.ended:
        return ""
    cancel = storage.stat(layout.cancel_request(job_id))
    if state is None:
        return _reason_to_keep_unbegun(storage, job_id, now, cancelled=cancel is not None)
    stored = storage.stat(layout.job_state(job_id))
    silent = now - stored.changed if stored else 0.0
    if cancel is not None and min(silent, now - cancel.changed) > _STOP_SECONDS:
        return ""
    if silent > LOST_SECONDS:
        return ""
    remedy = "it is stopping" if cancel else f"`povstorm cancel {job_id}` first"
    return f"it is {state.phase}, as of {age_words(silent)} ago: {remedy}"


def _reason_to_keep_unbegun(storage: Storage, job_id: str, now: float, *, cancelled: bool) -> str:
    """Why a job must not be deleted of which no flow has begun."""
    manifest = storage.stat(layout.job_manifest(job_id))
    if manifest is not None:
        if cancelled or now - manifest.changed > YOUNG_SECONDS:
            return ""
        return f"its flow has not begun yet: `povstorm cancel {job_id}` first"
    units = storage.stat(layout.work_units(job_id))
    if units is None or storage.stat(layout.deletion(job_id)) is not None:
        return ""
    return "" if now - units.changed > YOUNG_SECONDS else "it is just being submitted"


def delete_job(storage: Storage, job_id: str, *, with_cache: bool) -> None:
    """Delete all that is stored of a job; can be repeated when it was interrupted.

    with_cache: also what Prefect's cache says of its images. Not while a flow runs: Prefect looks
    twice at an entry, and fails where it is gone at the second time. One that stays does no harm;
    its frame is rendered again.
    """
    # Empty, so that a full disk has room for it.
    storage.write(layout.deletion(job_id), b"")
    storage.remove(layout.job_manifest(job_id))
    if with_cache:
        _delete_cache_entries(storage, job_id)
    # What is no key of a job's was put there by somebody else, and stays.
    storage.delete(layout.job(job_id), layout.is_own)
    storage.remove(layout.deletion(job_id))


def half_deleted(storage: Storage) -> list[str]:
    """The jobs whose deletion was interrupted."""
    noted = {
        stored.key.removeprefix(f"{layout.DELETIONS}/").removesuffix(".json")
        for stored in storage.list(layout.DELETIONS)
        if layout.is_own(stored.key)
    }
    return sorted(
        job_id
        for job_id in noted
        if layout.is_job_id(job_id) and storage.stat(layout.job_manifest(job_id)) is None
    )


def _delete_cache_entries(storage: Storage, job_id: str) -> None:
    """Delete the entries that speak of the job's images, which lists have by the job's id.

    In the name of an entry by itself is its unit's digest.
    """
    try:
        units = read_work_units(storage, job_id)
    except (StorageError, InputError):
        return  # it is deleted already, or never was readable; its entries do no harm
    for group in sorted({unit.content_group() for unit in units}):
        storage.delete(layout.cache_lists(group, job_id), layout.is_own)
    digests = {unit.content_digest() for unit in units}
    keys = (
        stored.key
        for stored in storage.list(layout.RESULT_CACHE)
        if layout.is_own(stored.key)
        and not digests.isdisjoint(stored.key.rpartition("/")[2].split("-"))
    )

    def delete_if_own(key: str) -> None:
        if _job_of_entry(storage, key) == job_id:
            storage.remove(key)

    for _ in in_parallel(delete_if_own, keys):
        pass


def _job_of_entry(storage: Storage, key: str) -> str:
    """The job whose image an entry of the cache names; "" for what is none, and renders nothing."""
    name = layout.cached_frame_name(key)
    try:
        return parse_cached_frame(storage.read(key), name).job_id
    except StorageError:
        return ""
