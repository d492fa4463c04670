"""Results that storage has already: of an earlier run of the job, and in the cache.

Who renders a job asks for the first before anything else.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from povstorm_client.frames.result import FrameResult
from povstorm_client.frames.work_unit import WorkUnit
from povstorm_client.jobs.frame_outputs import damage_lines
from povstorm_client.jobs.frame_results import FrameResults, Warn
from povstorm_client.jobs.stored_frames import find_damage
from povstorm_client.storage.protocol import Storage

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StoredFrames:
    """What a job's storage has of its frames before a run; all by work unit id.

    rendered: the results of those that need no rendering, with their images there, checked.
    damaged: those that had a result whose image is gone or another, or that is none. others: of
    all other results that were listed the StoredObject.version.
    """

    rendered: Mapping[str, FrameResult] = field(default_factory=dict)
    damaged: frozenset[str] = frozenset()
    others: Mapping[str, tuple[float, int]] = field(default_factory=dict)


def find_stored_results(
    storage: Storage, units: list[WorkUnit], warn: Warn = _log.warning
) -> StoredFrames:
    """Look which frames need no rendering.

    A result whose image is gone, or is not the one that was rendered, is deleted, so that the
    frame's next one is the first again. warn is told of those, and of results that are none.
    """
    if not units:
        return StoredFrames()
    results = FrameResults(storage, units[0].job_id)
    stored = results.of(units)
    damage = find_damage(storage, stored.rendered, units)
    for line in damage_lines(stored.unreadable | damage):
        warn(line)
    damaged = [unit for unit in units if unit.frame in damage or unit.frame in stored.unreadable]
    for unit in damaged:
        results.discard_unless_intact(unit)
    found = {
        result.work_unit_id: result for result in stored.rendered if result.frame not in damage
    }
    if units[0].link is not None:
        _drop_broken_ends(results, units, found)
    return StoredFrames(
        found,
        frozenset(unit.work_unit_id for unit in damaged),
        {unit_id: seen for unit_id, seen in stored.versions.items() if unit_id not in found},
    )


def _drop_broken_ends(
    results: FrameResults, units: list[WorkUnit], found: dict[str, FrameResult]
) -> None:
    """Of a chain, leave out frames that a frame to be rendered could not go on from."""
    after: WorkUnit | None = None
    for unit in reversed(units):
        is_last = after is None or after.work_unit_id in found
        if unit.work_unit_id in found and not is_last and not results.has_left(unit):
            del found[unit.work_unit_id]
        after = unit


def cache_key(unit: WorkUnit, renderer_version: str) -> str:
    """All that decides the picture: inline bytes, shared tree, cmd, POV-Ray's version."""
    return f"{unit.content_group()}/frame-{unit.content_digest()}-povray-{renderer_version}"
