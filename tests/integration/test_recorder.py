"""Who is to tell Prefect of a run waits for its time, and takes next to nothing until then."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import httpx
import pytest

from povstorm_client.jobs.manifest import write_manifest
from povstorm_client.jobs.state import JobState, read_state, write_state
from povstorm_client.launch.run_page import RUN_LABEL
from povstorm_client.storage.folder import FolderStorage
from povstorm_client.storage.job_address import job_uri
from tasks.journal.events import FrameBegun, JobEnded
from tasks.journal.journal import Journal
from tests.synthetic_job import make_manifest, make_units

JOB, RUN = "orbit-1", "the run"
LONG = "3600"


@pytest.fixture
def storage(tmp_path: Path) -> FolderStorage:
    storage = FolderStorage(tmp_path / "storage")
    write_manifest(storage, make_manifest(JOB, 2), make_units(JOB, 2))
    return storage


def test_a_run_that_was_stopped_in_its_first_seconds_is_not_told_of(storage: FolderStorage):
    write_state(storage, JOB, JobState("cancelled", 2, run=RUN, recording=True))
    with tempfile.TemporaryFile() as journal, tempfile.TemporaryFile() as words:
        for event in (FrameBegun("a"), JobEnded("cancelled", "")):
            Journal(journal).write(event)
        files = (journal.fileno(), words.fileno())
        of = (job_uri(storage, JOB), "", RUN)
        told = subprocess.run(
            [
                *(sys.executable, "-X", "importtime", "-P", "-m", "flows.recorder"),
                *(*of, *map(str, files), LONG),
            ],
            # The run's process has ended.
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            pass_fds=files,
            check=True,
        )

    assert " prefect" not in told.stderr, "Prefect is not started for it"
    state = read_state(storage, JOB)
    assert (state.phase, state.recording) == ("cancelled", False)
    assert state.unrecorded == (
        "Prefect has no record of this run, which was stopped in its first seconds"
    )


def test_a_run_that_was_killed_in_its_first_seconds_is_crashed_in_prefect(
    storage: FolderStorage, on_server: str
):
    with tempfile.TemporaryFile() as journal, tempfile.TemporaryFile() as words:
        Journal(journal).write(FrameBegun(make_units(JOB, 2)[0].work_unit_id))
        files = (journal.fileno(), words.fileno())
        subprocess.run(
            [
                *(sys.executable, "-P", "-m", "flows.recorder", job_uri(storage, JOB), "", RUN),
                *(*map(str, files), LONG),
            ],
            stdin=subprocess.DEVNULL,
            pass_fds=files,
            check=True,
        )

    wanted = {"flow_runs": {"name": {"any_": [JOB]}}}
    runs = httpx.post(f"{on_server}/flow_runs/filter", json=wanted, timeout=60).json()
    assert [run["state_type"] for run in runs] == ["CRASHED"]
    assert runs[0]["labels"][RUN_LABEL] == RUN


def test_to_wait_it_imports_nothing_that_waiting_does_not_take():
    program = "import sys\nbefore = set(sys.modules)\nimport flows.recorder\n"
    imported = subprocess.run(
        [sys.executable, "-P", "-c", f"{program}print(*(set(sys.modules) - before))"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(imported.stdout.split()) <= {"flows", "flows.recorder", "select", "time", "math"}
