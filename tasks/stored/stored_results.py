"""Results that an earlier run of the job has left in storage; map_frames asks at its start."""

from __future__ import annotations

import logging

from povstorm_client.frames.result import FrameResult
from povstorm_client.frames.work_unit import WorkUnit
from povstorm_client.jobs.frame_outputs import damage_lines
from povstorm_client.jobs.frame_results import FrameResults, Warn
from povstorm_client.jobs.stored_frames import find_damage
from povstorm_client.storage.protocol import Storage

_log = logging.getLogger(__name__)


def find_stored_results(
    storage: Storage, units: list[WorkUnit], warn: Warn = _log.warning
) -> dict[str, FrameResult]:
    """The units that need no rendering: work unit id → result with its image there, checked.

    A result whose image is gone, or is not the one that was rendered, is deleted, so that the
    frame's next one is the first again. warn is told of those, and of results that are none.
    """
    if not units:
        return {}
    results = FrameResults(storage, units[0].job_id)
    stored = results.of(units)
    damage = find_damage(storage, stored.rendered, units)
    for line in damage_lines(stored.unreadable | damage):
        warn(line)
    for unit in units:
        if unit.frame in damage or unit.frame in stored.unreadable:
            results.discard_unless_intact(unit)
    return {result.work_unit_id: result for result in stored.rendered if result.frame not in damage}
