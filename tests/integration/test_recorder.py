"""Who is to tell Prefect of a run waits for its time, and takes next to nothing until then."""

from __future__ import annotations

import os
import signal
import socket
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


def test_it_ends_when_it_is_asked_to_whatever_prefect_is_at(
    storage: FolderStorage, monkeypatch: pytest.MonkeyPatch
):
    write_state(storage, JOB, JobState("rendering", 2, run=RUN))
    run_lives = os.pipe()
    with (
        # It takes what it is asked, and never answers.
        socket.create_server(("127.0.0.1", 0)) as server,
        tempfile.TemporaryFile() as journal,
        tempfile.TemporaryFile() as words,
    ):
        monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{server.getsockname()[1]}/api")
        Journal(journal).write(FrameBegun("a"))
        files = (journal.fileno(), words.fileno())
        of = (job_uri(storage, JOB), "", RUN)
        recorder = subprocess.Popen(
            [*(sys.executable, "-P", "-m", "flows.recorder"), *of, *map(str, files), "0"],
            stdin=run_lives[0],
            pass_fds=files,
        )
        server.accept()
        recorder.terminate()
        assert recorder.wait(60) == 128 + signal.SIGTERM
    for end in run_lives:
        os.close(end)


def test_one_that_has_given_up_waits_for_the_run_s_end_to_note_why(storage: FolderStorage):
    write_state(storage, JOB, JobState("rendering", 2, run=RUN))
    command = [sys.executable, "-X", "importtime", "-P", "-m", "flows.recorder"]
    with subprocess.Popen(
        [*command, job_uri(storage, JOB), "", RUN, "Prefect has no record"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as recorder:
        write_state(storage, JOB, JobState("completed", 2, run=RUN, recording=True))
        assert " prefect" not in recorder.communicate()[1]

    state = read_state(storage, JOB)
    assert (state.recording, state.unrecorded) == (False, "Prefect has no record")


def test_to_wait_it_imports_nothing_that_waiting_does_not_take():
    program = "import sys\nbefore = set(sys.modules)\nimport flows.recorder\n"
    imported = subprocess.run(
        [sys.executable, "-P", "-c", f"{program}print(*(set(sys.modules) - before))"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(imported.stdout.split()) <= {"flows", "flows.recorder", "select", "time", "math"}
