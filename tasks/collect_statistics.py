"""The collect_statistics task: a job's frame results into statistics.json and a table artifact."""

from __future__ import annotations

from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from povstorm_client.frames.result import FrameResult
from povstorm_client.jobs.manifest import JobManifest
from povstorm_client.jobs.statistics import JobStatistics
from povstorm_client.storage.protocol import Storage
from tasks.artifacts.job_artifacts import publish_frames
from tasks.steps.statistics_step import make_statistics
from tasks.steps.step import Step


@task(name=Step.STATISTICS, cache_policy=NO_CACHE, persist_result=False)
async def collect_statistics(
    storage: Storage,
    manifest: JobManifest,
    results: list[FrameResult],
    *,
    video: dict[str, Any] | None,
    started: float,
    ended: float,
) -> JobStatistics:
    """As make_statistics, which says what it takes; the frames become a table artifact too."""
    statistics = await make_statistics(
        storage, manifest, results, video=video, started=started, ended=ended
    )
    await publish_frames(manifest.job_id, results)
    get_run_logger().info("\n%s", statistics)
    return statistics
