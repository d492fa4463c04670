"""The commands on stored jobs with a cluster on Google Cloud."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from povstorm_client import Cluster, InputError, Job, JobError, RenderSettings, WorkUnit
from povstorm_client.storage import layout
from tests.conftest import SPHERE
from tests.e2e.google_cloud import GoogleCloud
from tests.e2e.test_google_cloud import attempts, calls, wait_for


def make_job(cluster: Cluster, scene: Path, frames: int = 6) -> Job:
    job = Job(cluster, "sphere", seconds_per_frame=1)
    job.add_shared_resources(scene)
    settings = RenderSettings("shared/sphere.pov", width=32, height=24, final_frame=frames)
    for frame in range(1, frames + 1):
        unit = WorkUnit(settings, frame=frame)
        unit.add_inline_resource("colour.inc", f"#declare Red = {frame} / {frames};\n")
        job.add_work_unit(unit)
    return job


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    folder = tmp_path / "scene"
    folder.mkdir()
    text = SPHERE.replace("rgb <1, 0.4, 0.1>", "rgb <Red, 0.4, 0.1>")
    (folder / "sphere.pov").write_text('#include "colour.inc"\n' + text)
    return folder


def povstorm(cloud: GoogleCloud, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("povstorm")), "--cluster", str(cloud.outputs)]
    return subprocess.run(
        [*command, *words], cwd=cwd, capture_output=True, text=True, check=False, timeout=300
    )


def test_a_job_is_tried_again_looked_at_and_deleted(
    cloud: GoogleCloud, scene: Path, tmp_path: Path
):
    job = make_job(Cluster.from_terraform_outputs(cloud.outputs), scene)
    job.work_units[3].inline_resource.clear()  # without colour.inc the scene has no Red
    with pytest.raises(JobError, match="frame 4"):
        job.run(show_progress=False)
    runs = calls(cloud)["jobs.run"]
    before = {result.frame: result.ended for result in job.results()}
    storage = job.cluster.storage
    storage.delete(f"{layout.output(job.job_id)}/frame_2.png")

    shown = povstorm(cloud, "status", job.job_id, cwd=tmp_path).stdout
    assert "4 of 6 rendered" in shown
    assert "4: File" in shown
    assert "tasks done" in shown
    retried = povstorm(cloud, "retry", job.job_id, cwd=tmp_path)
    assert retried.returncode == 1
    assert "4 of 6 frames are there; rendering 2, 4" in retried.stderr
    after = {result.frame: result.ended for result in job.results()}
    assert {frame for frame in after if after[frame] != before[frame]} == {2, 4}
    assert calls(cloud)["jobs.run"] == runs + 1
    assert attempts(job)[2] == 1

    opened = povstorm(cloud, "frame", job.job_id, "2", cwd=tmp_path)
    assert opened.returncode == 0, opened.stderr
    assert "(the job's pixels)" in opened.stdout
    workspace = tmp_path / f"{job.job_id}_frame_0002" / "workspace"
    assert (workspace / "shared" / "sphere.pov").is_file()
    assert (workspace / "colour.inc").read_text() == "#declare Red = 2 / 6;\n"
    assert job.job_id in povstorm(cloud, "jobs", cwd=tmp_path).stdout
    done = povstorm(cloud, "clean", "--failed", "--yes", cwd=tmp_path)
    assert f"deleted  {job.job_id}" in done.stdout
    assert list(storage.list(layout.job(job.job_id))) == []


def test_a_job_is_not_deleted_while_its_executions_run(
    cloud: GoogleCloud, scene: Path, tmp_path: Path
):
    slow = (scene / "sphere.pov").read_text() + "#while (1) #end\n"
    (scene / "sphere.pov").write_text(slow)
    job = make_job(Cluster.from_terraform_outputs(cloud.outputs), scene, frames=2)
    job.submit()
    flow = job.cluster.start(job.job_id)
    try:
        wait_for(lambda: job.cluster.jobs_at_work() == {job.job_id})
        with pytest.raises(InputError, match="Cloud Run is rendering it"):
            job.delete()
        job.cluster.cancel(job.job_id)
        wait_for(lambda: flow.returncode is not None)
    finally:
        flow.stop()
    wait_for(lambda: not job.cluster.jobs_at_work())

    job.delete()

    assert job.cluster.jobs() == []
