"""What tests of Prefect's record wait for: it is made beside a run, and after it."""

from __future__ import annotations

import time

import psutil

from povstorm_client import Job
from povstorm_client.jobs.state import JobState

# On a machine with much to do the record is made at low priority.
_SECONDS = 900


def recorders(job_id: str) -> list[psutil.Process]:
    """The processes that tell Prefect of the job's runs."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if "flows.recorder" in (words := process.info["cmdline"] or [])
        and any(word.endswith(f"/{job_id}") for word in words)
    ]


def wait_for_end(job_id: str) -> None:
    """Wait until nobody tells Prefect of the job any more."""
    deadline = time.monotonic() + _SECONDS
    # Looking at all processes of a machine takes it longer than looking at these.
    while found := recorders(job_id):
        psutil.wait_procs(found, timeout=max(0.0, deadline - time.monotonic()))
        assert time.monotonic() < deadline, "a run is told of without an end"


def until_recorded(job: Job) -> JobState:
    """The job's last state, once nobody tells Prefect of it any more."""
    wait_for_end(job.job_id)
    state = job.state()
    assert state is not None
    assert not state.recording
    return state
