"""A job on this machine does not wait for Prefect, and says what that could not be told of it."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from povstorm_client import Job
from povstorm_client.jobs.state import JobState, write_state
from povstorm_client.launch.kept_journals import JournalOf, keep_journal
from povstorm_client.launch.prefect_home import seed_prefect_home
from povstorm_client.storage import layout
from povstorm_client.storage.job_address import job_uri
from tests.conftest import SPHERE
from tests.recording import recorders, until_recorded, wait_for_end

NO_DATABASE = "sqlite+aiosqlite:////nowhere/prefect.db"


@pytest.fixture
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: None) -> Path:
    """A Prefect home of the test's own, where no server is chosen."""
    home = tmp_path / "prefect-home"
    monkeypatch.setenv("PREFECT_HOME", str(home))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    seed_prefect_home()
    return home


def servers(job: Job) -> list[psutil.Process]:
    """The Prefect servers that tellers of the job have started."""
    return [
        child
        for recorder in recorders(job.job_id)
        for child in _children(recorder)
        if "prefect.server.api.server:create_app" in _command(child)
    ]


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.Error:
        return []


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def end_server_when(
    job: Job, is_time: Callable[[], bool], end: Callable[[psutil.Process], None]
) -> threading.Thread:
    """Do something to the job's server once it is time; returns the thread that does."""

    def wait() -> None:
        while not (is_time() and servers(job)):
            time.sleep(0.02)
        end(servers(job)[0])

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def runs(home: Path, table: str) -> list[str]:
    with closing(sqlite3.connect(home / "prefect.db")) as database:
        return [row[0] for row in database.execute(f"select state_type from {table}_run")]  # noqa: S608


def assert_all_is_there(job: Job) -> None:
    state = job.state()
    assert (state.phase, state.done) == ("completed", len(job.work_units))
    prefix = layout.job(job.job_id)
    missing = [
        name
        for name in ("video.mp4", "statistics.json", "report.html")
        if job.cluster.storage.stat(f"{prefix}/{name}") is None
    ]
    assert missing == []


def tried(job: Job) -> dict[int, int]:
    """Frame → the attempt that rendered it."""
    return {result.frame: result.attempt for result in job.results()}


def test_a_server_that_never_comes_up_costs_the_record_only(
    sphere_job, own_home: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PREFECT_API_DATABASE_CONNECTION_URL", NO_DATABASE)
    job = sphere_job(frames=4)
    job.run(show_progress=False)

    assert_all_is_there(job)
    told = until_recorded(job).unrecorded
    assert told.startswith("Prefect has no record of this run: its server ended with")

    again = sphere_job(frames=4)
    again.run(show_progress=False)
    assert {result.cache_hit for result in again.results()} == {True}, "the cache is kept without"
    until_recorded(again)


def test_a_server_that_is_killed_while_it_comes_up_costs_the_record_only(
    sphere_job, own_home: Path
):
    job = sphere_job(frames=4, scenes={2: '#include "nowhere.inc"\n'}, allow_missing_frames=True)
    job.submit()
    ending = end_server_when(job, lambda: True, psutil.Process.kill)
    job.run(show_progress=False)
    ending.join()

    state = until_recorded(job)
    assert (state.phase, state.done, state.failed) == ("completed", 3, 1)
    assert "Cannot open include file nowhere.inc" in job.results()[1].error
    assert state.unrecorded == (
        "Prefect has no record of this run: its server was killed by SIGKILL"
    )


def test_a_server_that_is_killed_while_it_is_told_leaves_the_job_as_it_is(
    sphere_job, own_home: Path
):
    job = sphere_job(frames=60)
    job.submit()

    def is_amid() -> bool:
        # The flow run is known before its function begins, which makes the first of these.
        return bool(runs(own_home, "task"))

    ending = end_server_when(job, is_amid, psutil.Process.kill)
    job.run(show_progress=False)
    ending.join()

    assert_all_is_there(job)
    assert set(tried(job).values()) == {1}
    assert until_recorded(job).unrecorded == (
        "Prefect has not recorded all of this run: its server was killed by SIGKILL"
    )


def test_the_prompt_does_not_wait_for_a_server_which_is_told_all_when_it_is_there(
    sphere_job, own_home: Path
):
    lost = SPHERE.replace("sphere", '#include "nowhere.inc" sphere')
    job = sphere_job(frames=4, scenes={2: lost}, allow_missing_frames=True)
    job.submit()
    held: list[psutil.Process] = []

    def hold(server: psutil.Process) -> None:
        server.suspend()
        held.append(server)

    holding = end_server_when(job, lambda: True, hold)
    job.run(show_progress=False)
    assert (job.state().phase, job.state().recording) == ("completed", True)
    holding.join()
    assert runs(own_home, "task") == []
    held[0].resume()

    state = until_recorded(job)
    assert (state.phase, state.done, state.unrecorded) == ("completed", 3, "")
    assert set(tried(job).values()) == {1}
    assert runs(own_home, "flow") == ["COMPLETED"]
    assert sorted(runs(own_home, "task")) == ["COMPLETED"] * 7 + ["FAILED"]
    assert not psutil.pid_exists(held[0].pid), "nothing is left behind"


def test_a_run_that_the_cache_had_and_two_at_once_in_one_home_are_told_of_too(
    sphere_job, own_home: Path
):
    first, second, third = (sphere_job(name, frames=3) for name in ("one", "two", "three"))
    for job in (first, second):
        job.run(show_progress=False)
    assert {result.cache_hit for result in second.results()} == {True}
    third.run(show_progress=False)

    for job in (first, second, third):
        assert until_recorded(job).unrecorded == ""
    assert runs(own_home, "flow") == ["COMPLETED"] * 3
    assert runs(own_home, "task") == ["COMPLETED"] * 21
    with closing(sqlite3.connect(own_home / "prefect.db")) as database:
        names = [row[0] for row in database.execute("select state_name from task_run")]
    assert names.count("Cached") == 6


def test_a_job_that_is_deleted_while_it_is_told_of_stays_deleted(sphere_job, own_home: Path):
    job = sphere_job(frames=2)
    job.submit()
    held: list[psutil.Process] = []

    def hold(server: psutil.Process) -> None:
        server.suspend()
        held.append(server)

    holding = end_server_when(job, lambda: True, hold)
    job.run(show_progress=False)
    holding.join()
    storage, job_id = job.cluster.storage, job.job_id
    job.delete()
    held[0].resume()
    wait_for_end(job_id)

    assert list(storage.list(layout.job(job_id))) == []


def test_a_server_that_is_too_slow_is_given_up(sphere_job, own_home: Path):
    job = sphere_job(frames=2)
    job.submit()
    storage = job.cluster.storage
    write_state(storage, job.job_id, JobState("completed", 2, run="the run", recording=True))
    ending = end_server_when(job, lambda: True, psutil.Process.suspend)
    program = (
        "import os, sys\nfrom flows import record_run\nrecord_run.SERVER_SECONDS = 1\n"
        "turn = os.open(sys.argv[2] + '/turn', os.O_RDWR | os.O_CREAT)\n"
        "record_run.tell(turn, sys.argv[2], '', own=sys.argv[4])"
    )
    of = JournalOf(job_uri(storage, job.job_id), "", "the run", time.time(), time.time())
    kept, about, events = keep_journal(own_home / "journals" / "here", of)
    with about, events:
        subprocess.run(
            [
                *(sys.executable, "-P", "-c", program, "flows.recorder", str(kept.path.parent)),
                *(of.job_uri, str(kept.path)),
            ],
            stdin=subprocess.DEVNULL,
            check=False,
        )
    ending.join()

    assert job.state().unrecorded == (
        "Prefect has no record of this run: its server did not answer within 1 s"
    )


def test_where_it_is_never_told_nothing_is_started_for_it_and_the_state_says_why(
    sphere_job, capfd: pytest.CaptureFixture[str]
):
    job = sphere_job(frames=2)
    job.run(show_progress=False)

    assert_all_is_there(job)
    assert recorders(job.job_id) == []
    assert (job.state().recording, job.state().unrecorded) == (
        False,
        "Prefect has no record of this run: POVSTORM_TELL_PREFECT_AFTER is 'never'",
    )
    assert capfd.readouterr().err == "", "who has chosen it is not told each time"
