"""OpenedJob: a stored job that is being run, by the render_job flow or by local_run.

It imports no Prefect.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass

from flows.stop_request import stop_request
from povstorm_client.jobs.manifest import JobManifest, read_manifest
from povstorm_client.jobs.storage_marker import claim_storage
from povstorm_client.run_logger import RunLogger
from povstorm_client.storage.credentials import google_credentials
from povstorm_client.storage.job_address import open_job
from povstorm_client.storage.parallel import CALLS_AT_ONCE
from povstorm_client.storage.protocol import Storage
from tasks.frames.job_progress import JobProgress


@dataclass(frozen=True)
class OpenedJob:
    """A job to be run; ``stop`` asks it to stop."""

    storage: Storage
    manifest: JobManifest
    progress: JobProgress
    stop: asyncio.Event


STOPPED = "stopped; what is rendered stays, run the job again to go on"


@asynccontextmanager
async def opened_job(
    job_uri: str, gcp_credentials: str, stop: asyncio.Event, logger: RunLogger
) -> AsyncIterator[OpenedJob]:
    """The job of an address, its state published, and whoever may stop it heard, in the block.

    gcp_credentials: name of a GcpCredentials block, "" for the application default.
    """
    # Threads wait for storage and processes here; the default is made for computing.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(CALLS_AT_ONCE, "povstorm"))
    credentials = await asyncio.to_thread(google_credentials, gcp_credentials)
    storage, job_id = open_job(job_uri, credentials)
    await asyncio.to_thread(claim_storage, storage)
    manifest = await asyncio.to_thread(read_manifest, storage, job_id)
    queued = manifest.cloud_run is not None
    async with (
        JobProgress(
            storage, job_id, len(manifest.frames), queued=queued, logger=logger
        ) as progress,
        stop_request(storage, job_id, stop, logger),
    ):
        yield OpenedJob(storage, manifest, progress, stop)
