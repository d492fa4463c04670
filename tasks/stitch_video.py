"""The stitch_video task: the job's verified images, in order, into its video."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from povstorm_client.frames.result import FrameResult
from povstorm_client.jobs.manifest import JobManifest
from povstorm_client.storage.protocol import Storage
from tasks.steps.step import Step
from tasks.steps.video_step import make_video
from tasks.video.encode import ReadySegments


@task(name=Step.VIDEO, cache_policy=NO_CACHE, persist_result=False)
async def stitch_video(
    storage: Storage,
    manifest: JobManifest,
    results: list[FrameResult],
    on_progress: Callable[[int], None],
    ready: ReadySegments,
) -> dict[str, Any]:
    """As make_video, which says what it takes and returns."""
    facts = await make_video(storage, manifest, results, on_progress, ready)
    get_run_logger().info("video: %s", facts)
    return facts
