"""Results that storage holds already: of an earlier run of this job, or of an earlier job.

map_frames asks for the first at its start, and adopts the second after a cache hit.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from povstorm_client.errors import InputError, RecordError, StorageError
from povstorm_client.frames.result import FrameResult
from povstorm_client.frames.work_unit import WorkUnit
from povstorm_client.jobs.stored_frames import (
    check_is_of,
    damage_lines,
    damage_of,
    find_damage,
    output_key,
    parse_frame,
    read_frame,
    read_frames,
)
from povstorm_client.storage import layout
from povstorm_client.storage.protocol import Storage
from render_image.render_unit import store_result

_log = logging.getLogger(__name__)
Warn = Callable[[str], None]


def find_stored_results(
    storage: Storage, units: list[WorkUnit], warn: Warn = _log.warning
) -> dict[str, FrameResult]:
    """The units that need no rendering: work unit id → result with its image there, checked.

    A result whose image is gone, or is not the one that was rendered, is deleted, so that the
    frame's next one is the first again. warn is told of those, and of results that are none.
    """
    stored = read_frames(storage, units)
    damage = find_damage(storage, stored.rendered, units)
    for line in damage_lines(stored.unreadable | damage):
        warn(line)
    for unit in units:
        if unit.frame in damage or unit.frame in stored.unreadable:
            _drop(storage, unit)
    return {result.work_unit_id: result for result in stored.rendered if result.frame not in damage}


def _drop(storage: Storage, unit: WorkUnit) -> None:
    """Delete a frame's result, unless another run of the job has replaced it since."""
    key = layout.result(unit.job_id, unit.work_unit_id)

    def is_sound(data: bytes) -> bool:
        try:
            result = parse_frame(data, unit, key, storage)
        except RecordError:
            return False
        return result.state == "rendered" and damage_of(storage, result) is None

    storage.remove_unless(key, is_sound)


def read_result(storage: Storage, unit: WorkUnit) -> FrameResult | None:
    """What is stored of a frame; None where there is nothing that is readable."""
    try:
        return read_frame(storage, unit)
    except StorageError:
        # Whatever it is, it commits nothing: the frame is rendered again.
        return None


def adopt(
    storage: Storage, unit: WorkUnit, result: FrameResult, warn: Warn = _log.warning
) -> FrameResult | None:
    """Take an earlier job's frame into this job: image, log and result under its own prefix.

    Returns None if that job's image is gone, goes in this moment, or is not what was rendered; the
    frame has to be rendered then. warn is told why, unless it is only gone.
    """
    try:
        check_is_of(result, unit)
    except InputError as error:
        warn(f"{unit.name} is rendered again, since its cache entry is of another frame: {error}")
        return None
    damage = damage_of(storage, result)
    if damage is not None:
        for line in damage_lines({unit.frame: damage}):
            warn(line)
        return None
    if result.job_id == unit.job_id:
        # Its image is there; of its result that was not sure, or the cache would not be asked.
        return store_result(storage, result)
    adopted = replace(
        result,
        job_id=unit.job_id,
        work_unit_id=unit.work_unit_id,
        cache_hit=True,
        queue_seconds=0.0,
    )
    log = layout.log(result.job_id, result.work_unit_id)
    try:
        for name in result.checksums:
            storage.copy(output_key(result, name), output_key(adopted, name))
        if storage.stat(log) is not None:
            storage.copy(log, layout.log(unit.job_id, unit.work_unit_id))
    except StorageError:
        # Of a job that is being deleted the manifest goes first.
        if storage.stat(layout.job_manifest(result.job_id)) is None:
            return None
        raise
    store_result(storage, adopted)
    return adopted
