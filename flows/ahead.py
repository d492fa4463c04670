"""Ahead: what is rendered of a job on Cloud Run, before any run of a frame asks for it.

job_steps plans it, for the render_job flow as for local_run. It imports no Prefect.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from povstorm_client.frames.result import FrameResult
from povstorm_client.frames.work_unit import WorkUnit
from povstorm_client.jobs.frame_results import Warn
from povstorm_client.jobs.manifest import JobManifest
from povstorm_client.run_logger import RunLogger
from povstorm_client.storage.protocol import Storage
from tasks.frames.job_progress import JobProgress
from tasks.renderers.choose_renderer import choose_renderer
from tasks.stored.stored_results import cache_key, find_cached, find_stored_results

if TYPE_CHECKING:
    from tasks.frames.waves_ahead import WavesAhead


@dataclass(frozen=True)
class Ahead:
    """frames is to be entered, which begins them.

    stored: work unit id → result, of those that need no rendering. not_cached: keys that the cache
    was found not to have.
    """

    stored: Mapping[str, FrameResult]
    frames: WavesAhead
    not_cached: set[str]


async def plan_ahead(
    storage: Storage,
    manifest: JobManifest,
    units: list[WorkUnit],
    progress: JobProgress,
    *,
    gcp_credentials: str,
    logger: RunLogger,
    warn: Warn,
) -> Ahead:
    """What is to be rendered of a job whose shared files are laid out, and by what.

    gcp_credentials: name of a GcpCredentials block, "" for the application default. warn is told
    of damaged frames. Raises StorageError if the storage fails.
    """
    # Here: the first frame of a job on this machine waits for every import.
    from tasks.frames.waves_ahead import WavesAhead
    from tasks.renderers.cloud_run.cloud_run_renderer import CloudRunRenderer

    damaged: set[str] = set()
    stored = await asyncio.to_thread(find_stored_results, storage, units, warn, damaged)
    renderer = await asyncio.to_thread(
        choose_renderer,
        storage,
        manifest,
        units,
        gcp_credentials=gcp_credentials,
        logger=logger,
        tell=progress.note,
    )
    assert isinstance(renderer, CloudRunRenderer)  # noqa: S101 - the manifest names a fleet
    not_cached: set[str] = set()

    def find_wanted(units: Sequence[WorkUnit], version: str) -> list[WorkUnit]:
        missing = [unit for unit in units if unit.work_unit_id not in stored]
        cached = find_cached(storage, missing, version)
        # Of a damaged frame the cache most likely speaks too, and it goes with the others.
        uncached = [
            unit
            for unit in missing
            if unit.work_unit_id in damaged or cache_key(unit, version) not in cached
        ]
        not_cached.update(cache_key(unit, version) for unit in uncached)
        # A chain's frames go on from each other: each is asked for when the last is rendered.
        return [unit for unit in uncached if unit.link is None]

    frames = WavesAhead(
        renderer,
        units,
        final_attempt=manifest.settings.retries == 0,
        find_wanted=find_wanted,
        progress=progress,
    )
    return Ahead(stored, frames, not_cached)
