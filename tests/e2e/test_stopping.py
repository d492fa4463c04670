"""However a run is stopped, no process stays behind, and the next run goes on from there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest

from povstorm_client import Cluster, Job
from povstorm_client.launch import telling_time
from tests.recording import wait_for_end

# Each frame computes for about half a second, so that a run is caught in the middle.
PROGRAM = """
import sys
from povstorm_client import Cluster, Job, RenderSettings, WorkUnit

SCENE = '''#version 3.7;
#for (I, 1, 400000) #declare X = sqrt(I); #end
camera { location -4*z look_at 0 } sphere { 0, 1 pigment { rgb clock } finish { emission 1 } }
'''
job = Job(Cluster.local(sys.argv[1]), "slow", video=None)
settings = RenderSettings(scene="a.pov", width=32, height=24, final_frame=30)
for frame in range(1, 31):
    unit = WorkUnit(settings, frame=frame)
    unit.add_inline_resource("a.pov", SCENE)
    job.add_work_unit(unit)
job.submit()
print(job.job_id, flush=True)
job.run(show_progress=False)
"""


def start(folder: Path) -> tuple[subprocess.Popen[str], Job]:
    """Start the client program, and wait until Prefect knows of it, and a few frames are there.

    Its flow is halted meanwhile: however long Prefect takes, most of its frames are left to do.
    """
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, telling_time.VARIABLE: "0"},
    )
    job = Job.open(Cluster.local(folder), program.stdout.readline().strip())
    wait_for(lambda: len(job.images()) >= 3, seconds=120)
    (flow,) = psutil.Process(program.pid).children()
    flow.suspend()
    wait_for(lambda: is_known(job), seconds=300)
    flow.resume()
    return program, job


def is_known(job: Job) -> bool:
    """Whether Prefect is told of the job."""
    wanted = {"flow_runs": {"name": {"any_": [job.job_id]}}}
    url = f"{os.environ['PREFECT_API_URL']}/flow_runs/filter"
    return bool(httpx.post(url, json=wanted, timeout=60).json())


def wait_for(condition, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


def povray_children(process: psutil.Process) -> list[psutil.Process]:
    return [child for child in process.children(recursive=True) if is_povray(child)]


def is_povray(process: psutil.Process) -> bool:
    try:
        return process.name() == "povray"
    except psutil.NoSuchProcess:  # it has ended since it was listed
        return False


def rendering_family(process: psutil.Process) -> list[psutil.Process]:
    """Its children, without who tells Prefect of them, which it ends by itself."""
    return [
        child
        for child in process.children(recursive=True)
        if "flows.recorder" not in words_of(child)
    ]


def words_of(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def flow_runs(server: str, job: Job) -> list[str]:
    """What Prefect knows of the job's runs, once nobody tells it more; the first run first."""
    wait_for_end(job.job_id)
    wanted = {"flow_runs": {"name": {"any_": [job.job_id]}}, "sort": "START_TIME_ASC"}
    found = httpx.post(f"{server}/flow_runs/filter", json=wanted, timeout=60).json()
    return [run["state_type"] for run in found]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_stopping_the_client_stops_all_and_keeps_finished_frames(
    how: signal.Signals, tmp_path: Path, on_server: str, monkeypatch: pytest.MonkeyPatch
):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    program, job = start(tmp_path / "storage")
    client = psutil.Process(program.pid)
    family = rendering_family(client)
    wait_for(lambda: povray_children(client), seconds=120)
    program.send_signal(how)
    program.wait(30)
    wait_for(lambda: not any(child.is_running() for child in family), seconds=30)
    assert list(temporary.iterdir()) == []
    assert job.state().phase == "cancelled"
    kept = {result.frame: result.ended for result in job.results() if result.state == "rendered"}
    assert 3 <= len(kept) < 30
    assert flow_runs(on_server, job) == ["CANCELLED"]

    monkeypatch.setenv(telling_time.VARIABLE, telling_time.NEVER)
    job.run(show_progress=False)
    assert len(job.images()) == 30
    ended = {result.frame: result.ended for result in job.results()}
    assert {frame: ended[frame] for frame in kept} == kept, "finished frames are not rendered again"


def test_a_killed_flow_takes_its_povray_processes_along_and_can_be_run_again(
    tmp_path: Path, on_server: str, monkeypatch: pytest.MonkeyPatch
):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    program, job = start(tmp_path / "storage")
    flow = psutil.Process(program.pid).children()[0]
    family = rendering_family(flow)
    wait_for(lambda: povray_children(flow), seconds=120)
    # As bubblewrap leaves a child that waits for it, when it is killed while it starts.
    (folder,) = temporary.iterdir()
    left = subprocess.Popen(["sh", "-c", "sleep 600; true", str(folder / "povstorm-frame")])
    flow.kill()
    assert program.wait(30) != 0
    assert list(temporary.iterdir()) == []
    assert left.wait(10) == -signal.SIGKILL
    wait_for(lambda: not any(child.is_running() for child in family), seconds=10)
    assert flow_runs(on_server, job) == ["CRASHED"]
    kept = {result.frame: result.ended for result in job.results() if result.state == "rendered"}

    monkeypatch.setenv(telling_time.VARIABLE, telling_time.NEVER)
    job.run(show_progress=False)
    assert len(job.images()) == 30
    ended = {result.frame: result.ended for result in job.results()}
    assert {frame: ended[frame] for frame in kept} == kept
