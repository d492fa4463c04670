"""A server that is kept for the day is found by runs, which leave their history there."""

from __future__ import annotations

import fcntl
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from povstorm_client import Cluster, Job
from povstorm_client.launch.kept_journals import TURN, journal_folder
from povstorm_client.launch.kept_server import running_server
from tests.recording import until_recorded

POVSTORM = str(Path(sys.executable).with_name("povstorm"))
SCENE = "#version 3.7; camera { location -4*z look_at 0 } background { rgb clock }\n"


def test_a_run_finds_the_kept_server_and_its_page_and_nothing_stays_when_it_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: None
):
    home = tmp_path / "home"
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("POVSTORM_HOME", str(home))
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    (tmp_path / "a.pov").write_text(SCENE)

    def povstorm(*words: str) -> str:
        done = subprocess.run(
            [POVSTORM, *words], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    folder = journal_folder(home, "file:")
    folder.mkdir(parents=True)
    try:
        with (folder / TURN).open("ab") as turn:
            # Another tells Prefect: what is rendered meanwhile waits.
            fcntl.flock(turn, fcntl.LOCK_EX)
            said = povstorm("render", "a.pov", "--size", "16x12")
            assert "1 of 1 frame;" in said
            job_id = said.partition("\njob ")[2].split()[0]
            assert "answers" in povstorm("server", "start")
        kept = running_server(home)
        assert kept is not None
        assert "it runs already" in povstorm("server", "start")
        assert f"process {kept.pid}, " in povstorm("server", "status")

        # It has come up after the run, which is told to it all the same.
        page = povstorm("ui", "last", "--no-open").split()[1]
        assert page.startswith(f"{kept.ui}/runs/flow-run/")
        run = page.rpartition("/")[2]
        assert until_recorded(Job.open(Cluster.local(home), job_id)).unrecorded == ""
        with urllib.request.urlopen(f"{kept.api}/flow_runs/{run}") as answer:
            assert b'"COMPLETED"' in answer.read()
        said = povstorm("render", "a.pov", "--size", "16x12")
    finally:
        stopped = povstorm("server", "stop")

    assert stopped.startswith("stopped the server at http://127.0.0.1:")
    assert kept.process is None
    job_id = said.partition("\njob ")[2].split()[0]
    job = Job.open(Cluster.local(home), job_id)
    assert until_recorded(job).unrecorded == "", "the server was told of the run before it ended"
    assert povstorm("server", "stop") == "no server ran\n"
    assert "no server runs here" in povstorm("server", "status")
    assert not (home / "prefect_server/server.json").exists()
