"""The stage_shared_resources task: lay a job's shared files out for its frames."""

from __future__ import annotations

import asyncio

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from povstorm_client.jobs import shared_resources
from povstorm_client.jobs.manifest import JobManifest
from povstorm_client.storage.protocol import Storage
from tasks.steps.staging import RETRY_DELAYS
from tasks.steps.step import Step


@task(
    name=Step.STAGE,
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=len(RETRY_DELAYS),
    retry_delay_seconds=list(RETRY_DELAYS),
)
async def stage_shared_resources(storage: Storage, manifest: JobManifest) -> str:
    """Copy the uploaded blobs to ``shared/<tree digest>/``; returns that prefix."""
    return await asyncio.to_thread(
        shared_resources.stage,
        storage,
        manifest.shared_files,
        get_run_logger().warning,
    )
