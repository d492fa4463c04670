"""OpenedJob: a stored job that is being run, before Prefect is there and while it is.

The render_job flow opens one itself on a worker; on this machine local_run has opened it before,
and has frames in work. It imports no Prefect.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from flows.ahead import Ahead, Logger
from flows.stop_request import stop_request
from povstorm_client.jobs.manifest import JobManifest, read_manifest
from povstorm_client.jobs.state import Phase
from povstorm_client.jobs.storage_marker import claim_storage
from povstorm_client.storage.credentials import google_credentials
from povstorm_client.storage.job_address import open_job
from povstorm_client.storage.parallel import CALLS_AT_ONCE
from povstorm_client.storage.protocol import Storage
from tasks.frames.job_progress import JobProgress


@dataclass
class OpenedJob:
    """A job to be run; ``stop`` asks it to stop, ``outcome`` is how it ended, and why.

    begun: set when its steps are in work; ended: when it has its outcome.
    """

    storage: Storage
    manifest: JobManifest
    progress: JobProgress
    stop: asyncio.Event
    ahead: Ahead | None = None
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    outcome: tuple[Phase, str] | None = None

    def end(self, phase: Phase, message: str) -> None:
        """Say how it ended."""
        self.outcome = phase, message
        self.progress.enter(phase, message)
        self.ended.set()


STOPPED = "stopped; what is rendered stays, run the job again to go on"
# The job that is opened already where render_job is called.
opened_before: ContextVar[OpenedJob] = ContextVar("opened_before")


@asynccontextmanager
async def opened_job(
    job_uri: str, gcp_credentials: str, stop: asyncio.Event, logger: Logger
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
