"""Run a job on this machine; the client starts this as a child process.

``python -P -m flows.local_run JOB_URI GCP_CREDENTIALS TEMPORARY_FOLDER`` stops when its standard
input is closed, and removes the folder when it has stopped.

It imports no Prefect, and does not wait for it: another process tells Prefect what happens here
(recorder_process.py), meanwhile, and afterwards as long as it takes.
"""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import shutil
import sys

from flows.job_steps import run_steps
from flows.opened_job import opened_job
from flows.plain_steps import PlainSteps
from flows.recorder_process import RecorderProcess
from povstorm_client.storage import disk_full
from povstorm_client.storage.disk_full import is_disk_full
from tasks.journal.journal import LOGGER

# After that a run that was stopped ends whatever it waits for, and its log says where that was.
# Its client, if that lives, would kill it a little later.
_STOP_SECONDS = 27.0


async def _run(job_uri: str, gcp_credentials: str) -> int:
    """Run the job; its exit code."""
    stop = asyncio.Event()

    def client_is_gone() -> None:
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        faulthandler.dump_traceback_later(_STOP_SECONDS, exit=True)
        stop.set()

    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), client_is_gone)
    async with opened_job(job_uri, gcp_credentials, stop, logging.getLogger(LOGGER)) as job:
        recorder = RecorderProcess(job, job_uri, gcp_credentials)
        with recorder.logged() as logger:
            steps = PlainSteps(recorder.journal, logger)
            outcome = await run_steps(job, gcp_credentials, steps)
        recorder.end(outcome)
    return 0 if outcome.phase == "completed" else 1


def _main(job_uri: str, gcp_credentials: str, temporary: str) -> int:
    try:
        return asyncio.run(_run(job_uri, gcp_credentials))
    except Exception as error:
        if not is_disk_full(error):
            raise
        return disk_full.EXIT_STATUS
    finally:
        # The client does so too, unless it was killed.
        shutil.rmtree(temporary, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
