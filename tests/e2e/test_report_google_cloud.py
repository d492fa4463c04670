"""The report of a job on Google Cloud: waves, a container that was lost, cost; in the bucket."""

from __future__ import annotations

import sys
from pathlib import Path

from povstorm_client import Cluster, Job, RenderSettings, WorkUnit
from povstorm_client.storage import layout
from tests.conftest import SPHERE
from tests.e2e.google_cloud import google_cloud
from tests.emulators.gcs.server import GcsServer

# The small job's containers end as the kernel would end them.
ENTRYPOINT = (
    "import os, runpy, sys; small = 'render-512m' in os.environ['CLOUD_RUN_JOB']; "
    "sys.exit(137) if small else runpy.run_module('render_image.entrypoint', "
    "run_name='__main__', alter_sys=False)"
)


def test_lost_containers_waves_and_cost_are_in_the_report(tmp_path: Path, gcs_server: GcsServer):
    with google_cloud(tmp_path, gcs_server, (sys.executable, "-P", "-c", ENTRYPOINT)) as cloud:
        cluster = Cluster.from_terraform_outputs(cloud.outputs)
        job = Job(cluster, "sphere")
        settings = RenderSettings(scene="sphere.pov", width=64, height=48, final_frame=3)
        for frame in (1, 2, 3):
            unit = WorkUnit(settings, frame=frame)
            unit.add_inline_resource("sphere.pov", SPHERE)
            job.add_work_unit(unit)
        job.run(show_progress=False)

        text = job.save_report(tmp_path / "report.html").read_text()
        attempts = list(cluster.storage.list(layout.attempts(job.job_id)))

    assert len(attempts) == 3
    assert "container lost" in text
    assert ">render-512m <span" in text
    assert ">render-2g</th>" in text
    assert "predicted $0." in text
    assert text.count('src="data:image/webp;base64,') == 3
    assert f"gs://{cloud.bucket}/jobs/{job.job_id}" in text
