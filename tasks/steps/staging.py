"""Lay a job's shared files out, as often as may help; local_run has it done without Prefect."""

from __future__ import annotations

import asyncio

from povstorm_client.errors import StorageError
from povstorm_client.jobs import shared_resources
from povstorm_client.jobs.frame_results import Warn
from povstorm_client.jobs.manifest import JobManifest
from povstorm_client.storage.protocol import Storage

# Before each further try, seconds; the stage_shared_resources task has them too.
RETRY_DELAYS = (1.0, 4.0, 16.0)


async def lay_out(storage: Storage, manifest: JobManifest, warn: Warn) -> str:
    """Copy the uploaded blobs to ``shared/<tree digest>/``; returns that prefix."""
    for seconds in RETRY_DELAYS:
        try:
            return await asyncio.to_thread(
                shared_resources.stage, storage, manifest.shared_files, warn
            )
        except StorageError as error:
            warn(f"the shared files could not be laid out, again in {seconds:.0f} s: {error}")
            await asyncio.sleep(seconds)
    return await asyncio.to_thread(shared_resources.stage, storage, manifest.shared_files, warn)
