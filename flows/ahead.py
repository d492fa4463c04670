"""Ahead: what is rendered of a job on Cloud Run, before any run of a frame asks for it.

job_steps plans it, for the render_job flow as for local_run. It imports no Prefect.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from povstorm_client.frames.work_unit import WorkUnit
from povstorm_client.jobs.manifest import JobManifest
from tasks.frames.job_progress import JobProgress
from tasks.renderers.renderer import Renderer
from tasks.stored.frame_cache import FrameCache
from tasks.stored.stored_results import cache_key

if TYPE_CHECKING:
    from tasks.frames.waves_ahead import WavesAhead


def plan_ahead(
    renderer: Renderer,
    manifest: JobManifest,
    units: list[WorkUnit],
    *,
    cache: FrameCache,
    stored: Collection[str],
    damaged: Collection[str],
    progress: JobProgress,
) -> WavesAhead:
    """What is to be rendered by waves of a job whose shared files are laid out.

    It is to be entered, which begins the frames, and tells the cache of those that it has not.
    stored: ids of the units that have a result; damaged: of those that had one.
    """
    # Here: the first frame of a job on this machine waits for every import.
    from tasks.frames.waves_ahead import WavesAhead
    from tasks.renderers.cloud_run.cloud_run_renderer import CloudRunRenderer

    assert isinstance(renderer, CloudRunRenderer)  # noqa: S101 - the manifest names a fleet

    def find_wanted(units: Sequence[WorkUnit], version: str) -> list[WorkUnit]:
        missing = [unit for unit in units if unit.work_unit_id not in stored]
        cached = cache.find({cache_key(unit, version) for unit in missing})
        # Of a damaged frame the cache most likely speaks too, and it goes with the others.
        uncached = [
            unit
            for unit in missing
            if unit.work_unit_id in damaged or cache_key(unit, version) not in cached
        ]
        cache.has_none_of(cache_key(unit, version) for unit in uncached)
        # A chain's frames go on from each other: each is asked for when the last is rendered.
        return [unit for unit in uncached if unit.link is None]

    return WavesAhead(
        renderer,
        units,
        final_attempt=manifest.settings.retries == 0,
        find_wanted=find_wanted,
        progress=progress,
    )
