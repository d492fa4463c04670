"""Results that storage holds already: of an earlier run of this job, or of an earlier job.

map_frames asks for the first at its start, and adopts the second after a cache hit.
"""

from __future__ import annotations

import json
from dataclasses import replace

from povstorm_client import layout
from povstorm_client.errors import StorageError
from povstorm_client.frame_result import FrameResult
from povstorm_client.parallel import in_parallel
from povstorm_client.storage import Storage
from povstorm_client.work_unit import WorkUnit
from render_image.render_unit import store_result


def image_key(result: FrameResult) -> str:
    """Where the result's image lies."""
    return f"{layout.output(result.job_id)}/{result.image}"


def find_stored_results(storage: Storage, units: list[WorkUnit]) -> dict[str, FrameResult]:
    """The units that need no rendering: work unit id → result with its image there in full.

    A result whose image is gone is deleted, so that the frame's next one is the first again.
    """
    if not units:
        return {}
    job_id = units[0].job_id
    wanted = {layout.result(job_id, unit.work_unit_id) for unit in units}
    keys = [entry.key for entry in storage.list(layout.results(job_id)) if entry.key in wanted]
    if not keys:
        return {}
    sizes = {entry.key: entry.size for entry in storage.list(layout.output(job_id))}
    found: dict[str, FrameResult] = {}
    for result in in_parallel(lambda key: read_result(storage, key), keys):
        if result is None or result.state != "rendered":
            continue
        # Looked at once more, since another run of the job may have stored both meanwhile.
        if sizes.get(image_key(result)) == result.image_bytes or has_image(storage, result):
            found[result.work_unit_id] = result
        else:
            storage.remove(layout.result(job_id, result.work_unit_id))
    return found


def read_result(storage: Storage, key: str) -> FrameResult | None:
    """The stored FrameResult; None where there is none that is readable."""
    try:
        return FrameResult.from_json(json.loads(storage.read(key)))
    except (ValueError, StorageError):
        # Whatever it is, it commits nothing: the frame is rendered again.
        return None


def has_image(storage: Storage, result: FrameResult) -> bool:
    """Whether the result's image is still stored, in its full size."""
    stored = storage.stat(image_key(result))
    return stored is not None and stored.size == result.image_bytes


def adopt(storage: Storage, unit: WorkUnit, result: FrameResult) -> FrameResult | None:
    """Take an earlier job's frame into this job: image, log and result under its own prefix.

    Returns None if that job's image is gone, or goes in this moment; the frame has to be rendered
    then.
    """
    if result.job_id == unit.job_id:
        return result if has_image(storage, result) else None
    if not has_image(storage, result):
        return None
    adopted = replace(
        result,
        job_id=unit.job_id,
        work_unit_id=unit.work_unit_id,
        cache_hit=True,
        queue_seconds=0.0,
    )
    log = layout.log(result.job_id, result.work_unit_id)
    try:
        for name in [result.image, *result.extra_outputs]:
            storage.copy(
                f"{layout.output(result.job_id)}/{name}", f"{layout.output(unit.job_id)}/{name}"
            )
        if storage.stat(log) is not None:
            storage.copy(log, layout.log(unit.job_id, unit.work_unit_id))
    except StorageError:
        # Of a job that is being deleted the manifest goes first.
        if storage.stat(layout.job_manifest(result.job_id)) is None:
            return None
        raise
    store_result(storage, adopted)
    return adopted
