"""Ahead: a job's frames in work, and what was stored when they were begun.

local_run begins it while Prefect is still starting, and the render_job flow attaches to it; where
Cloud Run renders, the flow begins it itself if nobody has. It imports no Prefect.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from povstorm_client.frames.result import FrameResult
from povstorm_client.frames.work_unit import WorkUnit
from povstorm_client.jobs.manifest import JobManifest
from povstorm_client.storage.protocol import Storage
from tasks.frames.frames_ahead import FramesAhead
from tasks.frames.job_progress import JobProgress
from tasks.renderers.choose_renderer import choose_renderer
from tasks.renderers.renderer import FramesInWork
from tasks.stored.stored_results import cache_key, find_cached, find_stored_results, is_in_cache

Logger = logging.Logger | logging.LoggerAdapter[Any]


@dataclass(frozen=True)
class Ahead:
    """frames is to be entered, which begins them.

    stored: work unit id → result, of those that need no rendering. warnings: what the run's log is
    to say of stored frames. not_cached: keys that the cache was found not to have. started: Unix
    seconds.
    """

    units: list[WorkUnit]
    stored: Mapping[str, FrameResult]
    warnings: list[str]
    frames: FramesInWork
    not_cached: set[str] = field(default_factory=set)
    started: float = field(default_factory=time.time)


async def plan_ahead(
    storage: Storage,
    manifest: JobManifest,
    units: list[WorkUnit],
    progress: JobProgress,
    *,
    gcp_credentials: str,
    logger: Logger,
) -> Ahead:
    """What is to be rendered of a job whose shared files are laid out, and by what.

    gcp_credentials: name of a GcpCredentials block, "" for the application default. Raises
    ToolError where POV-Ray is needed here and missing, StorageError if the storage fails.
    """
    warnings: list[str] = []
    damaged: set[str] = set()
    stored = await asyncio.to_thread(find_stored_results, storage, units, warnings.append, damaged)
    renderer = await asyncio.to_thread(
        choose_renderer,
        storage,
        manifest,
        units,
        gcp_credentials=gcp_credentials,
        logger=logger,
        tell=progress.note,
    )
    no_retries = manifest.settings.retries == 0
    frames: FramesInWork
    not_cached: set[str] = set()
    if manifest.cloud_run is not None:

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

        # Here: the first frame of a local job waits for every import.
        from tasks.frames.waves_ahead import WavesAhead
        from tasks.renderers.cloud_run.cloud_run_renderer import CloudRunRenderer

        assert isinstance(renderer, CloudRunRenderer)  # noqa: S101 - for the type checker
        frames = WavesAhead(
            renderer,
            units,
            final_attempt=no_retries,
            find_wanted=find_wanted,
            progress=progress,
        )
    else:

        async def is_wanted(unit: WorkUnit) -> bool:
            if unit.work_unit_id in stored:
                return False
            return not await asyncio.to_thread(is_in_cache, storage, unit, renderer.version)

        frames = FramesAhead(
            renderer,
            units,
            stored=stored,
            final_attempt=no_retries,
            is_wanted=is_wanted,
            progress=progress,
        )
    return Ahead(units, stored, warnings, frames, not_cached)
