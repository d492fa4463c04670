"""Make and store a job's statistics; the collect_statistics task calls it, and local_run."""

from __future__ import annotations

import asyncio
from typing import Any

from povstorm_client.frames.result import FrameResult
from povstorm_client.jobs.manifest import JobManifest
from povstorm_client.jobs.statistics import JobStatistics
from povstorm_client.jobs.summarize import summarize
from povstorm_client.programs.cores import cores
from povstorm_client.storage import layout
from povstorm_client.storage.protocol import Storage
from tasks.stored.last_writes import store_last


async def make_statistics(
    storage: Storage,
    manifest: JobManifest,
    results: list[FrameResult],
    *,
    video: dict[str, Any] | None,
    started: float,
    ended: float,
) -> JobStatistics:
    """Compute and store them as statistics.json. started, ended: Unix seconds of the rendering."""
    statistics = summarize(
        results,
        job_id=manifest.job_id,
        name=manifest.name,
        expected_frames=manifest.frames,
        started=started,
        ended=ended,
        video=video,
        cores=None if manifest.cloud_run else cores(),
        traced_frames=manifest.tracing.frames if manifest.tracing else 0,
        tracing_seconds=manifest.tracing.seconds if manifest.tracing else 0.0,
    )
    key, text = layout.statistics(manifest.job_id), statistics.stored()
    await asyncio.to_thread(store_last, lambda: storage.write(key, text))
    return statistics
