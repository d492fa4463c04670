"""``povstorm ui`` says at once why a run has no page, by the job's state and who tells Prefect."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

from povstorm_client import InputError
from povstorm_client.command_line import app
from povstorm_client.jobs.manifest import write_manifest
from povstorm_client.jobs.state import JobState, write_state
from povstorm_client.launch.kept_journals import JournalOf, journal_folder, keep_journal
from povstorm_client.launch.told_runs import told_runs
from povstorm_client.storage.folder import FolderStorage
from povstorm_client.storage.job_address import job_uri
from tests.synthetic_job import make_manifest, make_units

JOB, RUN = "untold-1", "the run"


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FolderStorage:
    monkeypatch.setenv("POVSTORM_HOME", str(tmp_path / "home"))
    storage = FolderStorage(tmp_path / "home")
    write_manifest(storage, make_manifest(JOB, 2), make_units(JOB, 2))
    return storage


@contextmanager
def recorder(storage: FolderStorage, seconds: int) -> Iterator[subprocess.Popen[bytes]]:
    """The process that tells Prefect of the run after so many seconds; it is killed then."""
    read, write = os.pipe()
    journal = str(storage.root / "journals" / "a.json")
    words = (job_uri(storage, JOB), "", RUN, journal, "0", "1", "", str(seconds))
    process = subprocess.Popen([sys.executable, "-P", "-m", "flows.recorder", *words], stdin=read)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        os.close(read)
        os.close(write)


def status() -> str:
    said = CliRunner().invoke(app, ["status", JOB], catch_exceptions=False)
    return " ".join(said.output.split())


def refusal() -> str:
    with pytest.raises(InputError) as refused:
        CliRunner().invoke(app, ["ui", JOB, "--no-open"], catch_exceptions=False)
    return str(refused.value)


def test_a_run_that_goes_on_is_told_of_later(storage: FolderStorage, on_server: str):
    write_state(storage, JOB, JobState("rendering", 2, run=RUN))
    with recorder(storage, 3600) as process:
        (told,) = [each for each in told_runs() if each.job_id == JOB]
        assert (told.process.pid, told.run, told.server) == (process.pid, RUN, on_server)
        begun = psutil.Process(process.pid).create_time()
        assert told.told_at == pytest.approx(begun + 3600)
        said = refusal()

    assert said.startswith(f"job {JOB} is rendering here, and has no page yet: Prefect is told")
    assert "or when it has ended" in said
    assert not [each for each in told_runs() if each.job_id == JOB]


def test_a_run_whose_recorder_was_killed_has_no_page(storage: FolderStorage, on_server: str):
    write_state(storage, JOB, JobState("completed", 2, run=RUN, recording=True))
    assert f"job {JOB} has no page: what told Prefect of its run was killed" in refusal()


def test_a_run_that_is_not_recorded_has_no_page_for_the_reason_in_its_state(
    storage: FolderStorage, on_server: str
):
    why = "Prefect has no record of this run, which was stopped in its first seconds"
    write_state(storage, JOB, JobState("cancelled", 2, run=RUN, unrecorded=why))
    assert refusal() == f"job {JOB} has no page: {why}"


def test_status_says_whether_anybody_tells_prefect_of_a_run_by_its_journal(storage: FolderStorage):
    write_state(storage, JOB, JobState("completed", 2, run=RUN, recording=True))
    assert "its journal is not here" in status()

    of = JournalOf(job_uri(storage, JOB), "", RUN, 0.0, 0.0)
    _, about, events = keep_journal(journal_folder(storage.root, "file:"), of)
    with about, events:
        assert "Prefect is still being told of this run" in status()
    assert (
        "what tells it was killed; the next run, or povstorm ui untold-1, has it told" in status()
    )
