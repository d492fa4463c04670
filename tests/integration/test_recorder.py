"""Who is to tell Prefect of a run waits for its time, and takes next to nothing until then."""

from __future__ import annotations

import asyncio
import fcntl
import json
import logging
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import msgspec
import psutil
import pytest

from flows import recorder_process
from flows.opened_job import OpenedJob
from flows.outcome import Outcome
from flows.recorder_process import RecorderProcess
from povstorm_client.jobs.manifest import read_manifest, write_manifest
from povstorm_client.jobs.state import JobState, read_state, write_state
from povstorm_client.launch import telling_time
from povstorm_client.launch.kept_journals import (
    TURN,
    JournalOf,
    KeptJournal,
    journal_folder,
    keep_journal,
    kept_journals,
    take_up,
)
from povstorm_client.launch.run_page import RUN_LABEL
from povstorm_client.launch.told_runs import told_runs
from povstorm_client.storage.folder import FolderStorage
from povstorm_client.storage.job_address import job_uri
from povstorm_client.version import povstorm_version
from tasks.frames.job_progress import JobProgress
from tasks.journal.events import Event, FrameBegun, JobEnded
from tasks.journal.journal import Journal
from tests.recording import recorders
from tests.synthetic_job import make_manifest, make_units

JOB, RUN = "orbit-1", "the run"
FRAME = make_units(JOB, 2)[0].work_unit_id
ENDED = JobEnded("completed", "2 of 2 frames")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: None) -> Path:
    monkeypatch.setenv("POVSTORM_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def storage(tmp_path: Path) -> FolderStorage:
    storage = FolderStorage(tmp_path / "storage")
    write_manifest(storage, make_manifest(JOB, 2), make_units(JOB, 2))
    return storage


def left_journal(
    folder: Path, storage: FolderStorage, job_id: str, run: str, *events: Event
) -> KeptJournal:
    """A journal whose processes have all ended."""
    of = JournalOf(job_uri(storage, job_id), "", run, time.time(), time.time() + 3600)
    kept, about, file = keep_journal(folder, of)
    with about, file:
        for event in events:
            Journal(file).write(event)
    return kept


def until(condition) -> None:
    deadline = time.monotonic() + 600
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


@contextmanager
def turn_of_another(home: Path) -> Iterator[None]:
    """Whoever is to tell waits in the block."""
    folder = journal_folder(home, "file:")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / TURN).open("ab") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        yield


def recorded(
    storage: FolderStorage, outcome: Outcome, *, begins: bool = True, killed: bool = False
) -> None:
    """A run that ends so; begins: it has a frame in work; killed: its recorder is meanwhile."""

    async def run() -> None:
        logger = logging.getLogger("povstorm")
        async with JobProgress(storage, JOB, 2, queued=False, logger=logger) as progress:
            manifest = read_manifest(storage, JOB)
            job = OpenedJob(storage, manifest, progress, asyncio.Event())
            recorder = RecorderProcess(job, job_uri(storage, JOB), "")
            if begins:
                recorder.journal.write(FrameBegun(FRAME))
                while not recorders(JOB):
                    await asyncio.sleep(0.05)
            if killed:
                (process,) = recorders(JOB)
                process.kill()
                process.wait()
            recorder.end(outcome)
            progress.enter(outcome.phase, outcome.message)

    asyncio.run(run())


def test_a_run_that_was_stopped_in_its_first_seconds_is_not_told_of(
    home: Path, storage: FolderStorage, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(telling_time.VARIABLE, "3600")
    recorded(storage, Outcome("cancelled", ""))

    until(lambda: not recorders(JOB))
    state = read_state(storage, JOB)
    assert (state.phase, state.recording) == ("cancelled", False)
    assert state.unrecorded == (
        "Prefect has no record of this run, which was stopped in its first seconds"
    )
    assert kept_journals(journal_folder(home, "file:")) == []


def test_a_run_that_was_stopped_later_is_told_of_though_it_had_no_frame_in_work(
    home: Path, storage: FolderStorage, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(recorder_process, "EARLY_SECONDS", 0.0)
    with turn_of_another(home):
        recorded(storage, Outcome("cancelled", ""), begins=False)
        until(lambda: recorders(JOB))
        state = read_state(storage, JOB)
        assert (state.recording, state.unrecorded) == (True, "")
        recorders(JOB)[0].terminate()
        until(lambda: not recorders(JOB))


def test_a_run_whose_recorder_was_killed_has_another_at_its_end(home: Path, storage: FolderStorage):
    with turn_of_another(home):
        recorded(storage, Outcome("completed", ""), killed=True)
        (process,) = recorders(JOB)
        state = read_state(storage, JOB)
        assert (state.recording, state.unrecorded) == (True, "")
        process.terminate()
        until(lambda: not recorders(JOB))
    assert kept_journals(journal_folder(home, "file:")), "it is there for the next"


def test_what_was_left_is_told_of_by_one_process_in_the_order_of_beginnings(
    home: Path, storage: FolderStorage, on_server: str
):
    folder = journal_folder(home, "file:")
    jobs = ["crashed-1", "complete-2", "newer-3", "other-4", "deleted-5"]
    for job_id in jobs[:4]:
        write_manifest(storage, make_manifest(job_id, 2), make_units(job_id, 2))
    for job_id in jobs[1:4]:
        write_state(storage, job_id, JobState("completed", 2, run=job_id, recording=True))
    unit = make_units(jobs[0], 2)[0].work_unit_id
    left_journal(folder, storage, jobs[0], jobs[0], FrameBegun(unit))
    left_journal(folder, storage, jobs[1], jobs[1], ENDED)
    newer = left_journal(folder, storage, jobs[2], jobs[2])
    newer.events.write_bytes(b'{"type":"Paused"}\n' + msgspec.json.encode(ENDED) + b"\n")
    other = left_journal(folder, storage, jobs[3], jobs[3], ENDED)
    whose = {"job_uri": other.of.job_uri, "gcp_credentials": "", "run": jobs[3], "version": "9.0"}
    other.path.write_text(json.dumps(whose))
    left_journal(folder, storage, jobs[4], jobs[4], ENDED)
    # Somebody told of it before, and was killed.
    half = {"name": jobs[1], "flow_id": _flow(on_server), "labels": {RUN_LABEL: jobs[1]}}
    half["state"] = {"type": "RUNNING"}
    httpx.post(f"{on_server}/flow_runs/", json=half, timeout=60).raise_for_status()

    take_up(home)
    mine = job_uri(storage, jobs[0])
    assert [each.run for each in told_runs() if each.job_uri == mine] == [jobs[0]]
    until(lambda: not kept_journals(folder))

    wanted = {"flow_runs": {"name": {"any_": jobs}}, "sort": "START_TIME_ASC"}
    runs = httpx.post(f"{on_server}/flow_runs/filter", json=wanted, timeout=60).json()
    assert [(run["name"], run["state_type"]) for run in runs] == [
        (jobs[0], "CRASHED"),
        (jobs[1], "COMPLETED"),
        (jobs[2], "COMPLETED"),
    ]
    assert runs[0]["labels"][RUN_LABEL] == jobs[0]
    until(lambda: not any(read_state(storage, job_id).recording for job_id in jobs[1:4]))
    assert [read_state(storage, job_id).unrecorded for job_id in jobs[1:4]] == [
        "",
        "Prefect has not recorded all of this run: 1 line of its journal is of another version of "
        "povstorm: `povstorm retry newer-3` has Prefect told of the job as it is stored",
        "Prefect has no record of this run: its journal is of povstorm 9.0, which povstorm "
        f"{povstorm_version()} cannot read: `povstorm retry other-4` has Prefect told of the job "
        "as it is stored",
    ]


def _flow(server: str) -> str:
    made = httpx.post(f"{server}/flows/", json={"name": "render-job"}, timeout=60)
    found: str = made.json()["id"]
    return found


def test_it_ends_when_it_is_asked_to_whatever_prefect_is_at(
    home: Path, storage: FolderStorage, monkeypatch: pytest.MonkeyPatch
):
    # It takes what it is asked, and never answers.
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{server.getsockname()[1]}/api")
        kept = left_journal(journal_folder(home, "file:"), storage, JOB, RUN, FrameBegun(FRAME))
        recorder = subprocess.Popen(
            [sys.executable, "-P", "-m", "flows.recorder", str(kept.path.parent), ""],
        )
        server.accept()
        recorder.terminate()
        assert recorder.wait(60) == 128 + signal.SIGTERM
    assert kept.path.exists(), "it is there for the next"


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


def test_who_waits_for_the_turn_ends_when_its_run_is_told_of(home: Path, storage: FolderStorage):
    of = JournalOf(job_uri(storage, JOB), "", RUN, time.time(), time.time())
    kept, about, events = keep_journal(journal_folder(home, "file:"), of)
    command = [*(sys.executable, "-P", "-m", "flows.recorder", of.job_uri, "", RUN), str(kept.path)]
    with about, events, turn_of_another(home):
        process = subprocess.Popen(
            [*command, str(about.fileno()), "1", "", "0"],
            stdin=subprocess.DEVNULL,
            pass_fds=[about.fileno()],
        )
        turn = str(kept.path.with_name(TURN))
        until(lambda: turn in [file.path for file in psutil.Process(process.pid).open_files()])
        kept.remove()
        assert process.wait(60) == 0


def test_who_is_to_tell_of_what_is_left_ends_when_another_has(home: Path, storage: FolderStorage):
    kept = left_journal(journal_folder(home, "file:"), storage, JOB, RUN, ENDED)
    with turn_of_another(home):
        take_up(home)
        (process,) = [each.process for each in told_runs() if each.job_uri == kept.of.job_uri]
        kept.remove()
        assert process.wait(60) == 0


def test_to_wait_it_imports_nothing_that_waiting_does_not_take():
    program = "import sys\nbefore = set(sys.modules)\nimport flows.recorder\n"
    imported = subprocess.run(
        [sys.executable, "-P", "-c", f"{program}print(*(set(sys.modules) - before))"],
        capture_output=True,
        text=True,
        check=True,
    )
    waiting = {"flows", "flows.recorder", "fcntl", "select", "time", "math"}
    assert set(imported.stdout.split()) <= waiting
