"""A user's own tasks.py, flows/ and render_image.py beside the script don't get in the way."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from povstorm_client import Cluster, Job
from tests.recording import until_recorded

PROGRAM = """
import tasks, flows.mine
from povstorm_client import Cluster, Job, RenderSettings, WorkUnit
assert tasks.MINE and flows.mine.MINE
job = Job(Cluster.local("storage"), "own", video=None)
unit = WorkUnit(RenderSettings(scene="a.pov", width=8, height=8))
unit.add_inline_resource("a.pov", "#version 3.7; camera { location -3*z look_at 0 }")
job.add_work_unit(unit)
job.run(show_progress=False)
print(job.job_id)
"""


def test_a_run_uses_povstorms_modules_whatever_lies_beside_the_script(
    tmp_path: Path, on_server: str
):
    (tmp_path / "script.py").write_text(PROGRAM)
    (tmp_path / "tasks.py").write_text("MINE = True\n")
    (tmp_path / "render_image.py").write_text("raise SystemExit('the wrong module')\n")
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows" / "mine.py").write_text("MINE = True\n")
    finished = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    job_id = finished.stdout.strip()
    cluster = Cluster.local(tmp_path / "storage")
    assert cluster.storage.stat(f"jobs/{job_id}/output/frame_1.png") is not None
    assert until_recorded(Job.open(cluster, job_id)).unrecorded == ""
