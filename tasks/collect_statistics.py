"""The collect_statistics task: a job's frame results into statistics.json and a table artifact."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from prefect import task
from prefect.artifacts import acreate_table_artifact
from prefect.cache_policies import NO_CACHE

from povstorm_client.frames.result import FrameResult
from povstorm_client.jobs.manifest import JobManifest
from povstorm_client.jobs.statistics import JobStatistics, summarize
from povstorm_client.storage import layout
from povstorm_client.storage.protocol import Storage
from render_image.machine import cores
from tasks.prefect_run import get_run_logger, is_recorded, unless_lost
from tasks.stored.last_writes import store_last

# The UI renders the table in the browser; failed and slow frames come first in longer jobs.
_TABLE_ROWS = 500


@task(name="collect_statistics", cache_policy=NO_CACHE, persist_result=False)
async def collect_statistics(
    storage: Storage,
    manifest: JobManifest,
    results: list[FrameResult],
    *,
    video: dict[str, Any] | None,
    started: float,
    ended: float,
) -> JobStatistics:
    """Compute and store the job's statistics, and publish its frames as a table artifact.

    started, ended: Unix seconds of the rendering.
    """
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
    key, text = layout.statistics(manifest.job_id), json.dumps(statistics.to_json(), indent=2)
    await asyncio.to_thread(store_last, lambda: storage.write(key, text.encode()))
    try:
        if is_recorded():
            making = acreate_table_artifact(
                _rows(results), key="frames", description=f"Frames of {manifest.job_id}"
            )
            await unless_lost(making)
    except Exception as error:
        # The statistics are stored all the same.
        get_run_logger().warning("Prefect's pages have no table of the frames: %s", error)
    get_run_logger().info("\n%s", statistics)
    return statistics


def _rows(results: list[FrameResult]) -> list[dict[str, Any]]:
    if len(results) > _TABLE_ROWS:
        by_interest = sorted(
            results, key=lambda result: (result.state == "rendered", result.started - result.ended)
        )
        results = sorted(by_interest[:_TABLE_ROWS], key=lambda result: result.frame)
    return [_row(result) for result in results]


def _row(result: FrameResult) -> dict[str, Any]:
    statistics = result.statistics
    return {
        "frame": result.frame,
        "state": "from cache" if result.cache_hit else result.state,
        "attempt": result.attempt,
        "parse s": statistics.parse_seconds if statistics else None,
        "trace s": statistics.trace_seconds if statistics else None,
        "CPU s": round(statistics.cpu_seconds, 2) if statistics else None,
        "wall s": round(statistics.wall_seconds, 2) if statistics else None,
        "peak MiB": round(statistics.peak_memory_bytes / 2**20) if statistics else None,
        "image": result.image,
        "error": result.error,
    }
