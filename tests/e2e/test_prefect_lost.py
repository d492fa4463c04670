"""A job on this machine ends right however Prefect's own server does, and says what it has not."""

from __future__ import annotations

import os
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
from povstorm_client.launch.prefect_home import seed_prefect_home
from povstorm_client.storage import layout
from povstorm_client.storage.job_address import job_uri

NO_DATABASE = "sqlite+aiosqlite:////nowhere/prefect.db"


@pytest.fixture
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Prefect home of the test's own, where no server is chosen."""
    home = tmp_path / "prefect-home"
    monkeypatch.setenv("PREFECT_HOME", str(home))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    seed_prefect_home()
    return home


def servers() -> list[psutil.Process]:
    """The Prefect servers that flows of this process have started."""
    return [
        child
        for child in psutil.Process().children(recursive=True)
        if "prefect.server.api.server:create_app" in _command(child)
    ]


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def end_server_when(
    is_time: Callable[[], bool], end: Callable[[psutil.Process], None]
) -> threading.Thread:
    """Do something to the flow's server once it is time; returns the thread that does."""

    def wait() -> None:
        while not (is_time() and servers()):
            time.sleep(0.02)
        end(servers()[0])

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
    assert servers() == [], "nothing is left behind"


def tried(job: Job) -> dict[int, int]:
    """Frame → the attempt that rendered it."""
    return {result.frame: result.attempt for result in job.results()}


def test_a_server_that_never_comes_up_costs_the_record_only(
    sphere_job, own_home: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    monkeypatch.setenv("PREFECT_API_DATABASE_CONNECTION_URL", NO_DATABASE)
    job = sphere_job(frames=4)
    job.run(show_progress=False)

    assert_all_is_there(job)
    told = [line for line in capsys.readouterr().err.splitlines() if "Prefect" in line]
    assert len(told) == 1
    assert told[0].startswith("povstorm: Prefect has no record of this run: its server ended with")

    again = sphere_job(frames=4)
    again.run(show_progress=False)
    assert {result.cache_hit for result in again.results()} == {True}, "the cache is kept without"


def test_a_server_that_is_killed_while_it_comes_up_costs_the_record_only(
    sphere_job, own_home: Path
):
    ending = end_server_when(lambda: True, psutil.Process.kill)
    job = sphere_job(frames=4, scenes={2: '#include "nowhere.inc"\n'}, allow_missing_frames=True)
    job.run(show_progress=False)
    ending.join()

    state = job.state()
    assert (state.phase, state.done, state.failed) == ("completed", 3, 1)
    assert "Cannot open include file nowhere.inc" in job.results()[1].error
    assert state.unrecorded == (
        "Prefect has no record of this run: its server was killed by SIGKILL"
    )


def test_a_server_that_is_killed_amid_the_frames_leaves_the_job_to_end_right(
    sphere_job, own_home: Path
):
    job = sphere_job(frames=60)
    job.submit()

    def is_amid() -> bool:
        return "RUNNING" in runs(own_home, "flow")

    ending = end_server_when(is_amid, psutil.Process.kill)
    job.run(show_progress=False)
    ending.join()

    assert_all_is_there(job)
    assert set(tried(job).values()) == {1}
    assert job.state().unrecorded == (
        "Prefect has not recorded all of this run: its server was killed by SIGKILL"
    )


def test_a_server_that_comes_up_late_records_every_frame_and_renders_none_again(
    sphere_job, own_home: Path
):
    job = sphere_job(frames=3)
    job.submit()
    results = f"{layout.job(job.job_id)}/results"

    def hold(server: psutil.Process) -> None:
        server.suspend()
        while len(list(job.cluster.storage.list(results))) < 3:
            time.sleep(0.05)
        server.resume()

    ending = end_server_when(lambda: True, hold)
    job.run(show_progress=False)
    ending.join()

    assert_all_is_there(job)
    assert job.state().unrecorded == ""
    assert set(tried(job).values()) == {1}
    assert runs(own_home, "flow") == ["COMPLETED"]
    assert runs(own_home, "task") == ["COMPLETED"] * 7


def test_a_server_that_is_too_slow_is_not_waited_for_when_all_is_rendered(
    sphere_job, own_home: Path
):
    job = sphere_job(frames=2)
    job.submit()
    ending = end_server_when(lambda: True, psutil.Process.suspend)
    program = (
        "import sys\nfrom flows import local_run\nlocal_run.PATIENCE_SECONDS = 1\n"
        "sys.exit(local_run._main(*sys.argv[1:]))"
    )
    temporary = own_home.parent / "temporary"
    temporary.mkdir()
    # Its standard input stays open: its end would be the request to stop.
    listened_to, kept_open = os.pipe()
    flow = subprocess.run(
        [
            *(sys.executable, "-P", "-c", program),
            *(job_uri(job.cluster.storage, job.job_id), "", str(temporary)),
        ],
        env=os.environ,
        stdin=listened_to,
        capture_output=True,
        text=True,
        check=False,
    )
    os.close(listened_to)
    os.close(kept_open)
    ending.join()

    assert flow.returncode == 0, flow.stderr
    assert_all_is_there(job)
    assert job.state().unrecorded == (
        "Prefect has no record of this run: its server did not answer within 1 s"
    )
    assert not temporary.exists()
